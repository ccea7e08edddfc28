//! The threads of encoded tracks: filters, the scaling of a ladder, encoders, and the head start of the smallest rung.

use super::build::{FRAMES, Graph};
use super::chain;
use super::lead::Lead;
use super::resolve::{Make, Offer, Output};
use super::tracks::{AudioTrack, VideoTrack};
use super::worker::{self, Branch, Chain, ToTrack};
use crate::encode::failover::{self, Failover};
use crate::encode::nvenc::{self, NvencEncoder};
use crate::encode::presets::{self, Input};
use crate::encode::{self, AudioEncoder, Encoder, KeyGrid, VideoEncode, VideoEncoder, probe, select};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{AudioConform, AudioTarget, Begin, FilterContext, Told, Trim};
use crate::frame::{Frame, PixelFormat};
use crate::job::shared::Shared;
use crate::packet::{AudioInfo, Codec, StreamInfo};
use crate::sink::is_ivf;
use crate::spec::{Container, Device, FilterSpec, VideoSpec, Window};
use crate::time::{Rational, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How far beyond its first segment a head start may go for an encoder that looks ahead.
const HEAD_START_SECONDS: f64 = 3.0;

/// A video track to encode: its source stream, what is decided, and everyone who gets its packets.
pub(super) type Wanted<'a> = (usize, &'a VideoTrack, Vec<ToTrack>);

impl Graph<'_> {
    pub(super) fn audio_thread(
        &mut self,
        output: usize,
        track: &AudioTrack,
        stream: usize,
        source: &AudioInfo,
        outs: Vec<ToTrack>,
    ) -> Result<()> {
        let wanted = encode::audio::wanted(&track.encoder, &track.spec, source)?;
        let conform = AudioConform::new(AudioTarget {
            params: wanted.params.clone(),
            frame_size: Some(wanted.frame_size).filter(|n| *n > 0),
            gain_db: track.spec.gain,
            loudness: track.spec.loudness,
            sync: track.spec.sync,
            begin: match &self.window {
                Some(window) => Some(Begin::At(first_sample(window, &wanted))),
                // Players of segments want sound from the beginning, or wait for it.
                None => self.resolved.outputs[output]
                    .container
                    .is_some_and(Container::is_segmented)
                    .then(|| Begin::NotLater { at: 0, limit: i64::from(wanted.params.sample_rate) / 2 }),
            },
            until: self.window.as_ref().and_then(|w| last_sample(w, &wanted, self.length)),
        })?;
        let encoder = AudioEncoder::new(&track.encoder, &track.spec, wanted)?;
        let (tx, rx) = self.link::<Frame>(FRAMES * 8);
        self.branches.entry(stream).or_default().push(Branch { to: tx, host: false });
        self.encode_thread(output, rx, None, vec![Box::new(conform)], None, Box::new(encoder), outs)
    }

    /// Which pictures the encoders of `track` get, if not all.
    fn cut(&self, track: &VideoTrack, output: &Output) -> Option<worker::Cut> {
        let window = self.window.as_ref()?;
        Some(worker::Cut {
            grid: key_grid(track, output)?,
            first: i64::try_from(window.spec.first).unwrap_or(i64::MAX),
            end: window.end().map(|end| i64::try_from(end).unwrap_or(i64::MAX)),
            over: false,
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn encode_thread(
        &mut self,
        output: usize,
        rx: crate::link::Receiver<Frame>,
        lead: Option<crate::link::Receiver<Frame>>,
        chain: Chain,
        cut: Option<worker::Cut>,
        encoder: Box<dyn Encoder>,
        outs: Vec<ToTrack>,
    ) -> Result<()> {
        let name = format!("{output}:{}", name_of(&outs));
        let meter = self.shared.meter(format!("encode {name}"));
        meter.watch(rx.monitor());
        self.thread(format!("enc {name}"), move |shared| {
            worker::encode(shared, &meter, worker::TrackFrames::new(lead, rx), chain, cut, encoder, outs)
        })
    }

    /// Encoders of one output: those that differ in size only share their filters and what scales them.
    pub(super) fn video_threads(
        &mut self,
        index: usize,
        output: &Output,
        mut tracks: Vec<Wanted<'_>>,
        offer: &Offer,
    ) -> Result<()> {
        while !tracks.is_empty() {
            let (stream, first, _) = &tracks[0];
            let (stream, first) = (*stream, *first);
            let (mut group, rest): (Vec<_>, Vec<_>) =
                tracks.into_iter().partition(|(s, t, _)| *s == stream && shares_filters(first, t));
            tracks = rest;
            let source = offer.streams.iter().find(|s| s.index == stream);
            let source = source.ok_or_else(|| Error::new(ErrorKind::Internal, "video of no stream"))?;
            let (tx, rx) = self.link::<Frame>(FRAMES);
            let branch = Branch { to: tx, host: first.placement.begins_on_host() };
            self.branches.entry(stream).or_default().push(branch);
            let mut chain = self.filters(first, source)?;
            if group.len() == 1
                && let Some((_, track, outs)) = group.pop()
            {
                chain.push(chain::scaler(track, chain::scale_target(track, source)?, &self.devices));
                let (paced, told) = (self.paces(), self.tells_previews(index, &outs));
                chain.extend(chain::after_scale(track, source, &mut self.devices, paced, told)?);
                let encoder = self.video_encoder(index, &outs, track, source, output)?;
                let cut = self.cut(track, output);
                self.encode_thread(index, rx, None, chain, cut, encoder, outs)?;
                continue;
            }
            let mut targets = Vec::new();
            let mut rungs = Vec::new();
            let made: Vec<&VideoTrack> = group.iter().map(|(_, track, _)| *track).collect();
            for (_, track, outs) in group {
                targets.push(chain::scale_target(track, source)?);
                let (tx, rx) = self.link::<Frame>(FRAMES);
                rungs.push(Some(tx));
                let encoder = self.video_encoder(index, &outs, track, source, output)?;
                let lead = match &output.lead {
                    Some(name) if *name == name_of(&outs) && self.pass.is_none() => {
                        Some(self.head_start(track, source, output)?)
                    }
                    _ => None,
                };
                let (paced, told) = (self.paces(), self.tells_previews(index, &outs));
                let upload = chain::after_scale(track, source, &mut self.devices, paced, told)?;
                let cut = self.cut(track, output);
                self.encode_thread(index, rx, lead, upload, cut, encoder, outs)?;
            }
            let scale = chain::scalers(&made, targets, &self.devices)?;
            let meter = self.shared.meter(format!("scale {index}"));
            meter.watch(rx.monitor());
            self.thread(format!("scale{index}"), move |shared| {
                if let Err(e) = worker::fan_out(shared, &meter, rx, chain, scale, &mut rungs) {
                    shared.fail(e.context("scale"));
                }
            })?;
        }
        Ok(())
    }

    /// The thread that gives a rung its first frames before the job's own source begins.
    fn head_start(
        &mut self,
        track: &VideoTrack,
        source: &StreamInfo,
        output: &Output,
    ) -> Result<crate::link::Receiver<Frame>> {
        let zero = Timestamp::new(0, Rational::new(1, 1));
        let end = self.spec.source.duration.map(|d| Timestamp::from_seconds(d.0));
        let mut chain: Chain =
            vec![Box::new(Trim::new(Some(zero), end, zero)?.by_pictures(self.cuts_by_pictures()))];
        chain.extend(self.filters(track, source)?);
        chain.push(chain::scaler(track, chain::scale_target(track, source)?, &self.devices));
        let (tx, rx) = self.link::<Frame>(FRAMES);
        let lead = Lead {
            source: self.spec.source.clone(),
            stream: source.clone(),
            origin: self.zero,
            chain,
            out: tx,
            gate: self.gate.clone(),
            limit: Timestamp::from_seconds(output.segment.duration.0 + HEAD_START_SECONDS),
            threads: super::tracks::cores(self.spec).min(4),
        };
        let meter = self.shared.meter("head start");
        self.leads = true;
        self.thread("lead".into(), move |shared| lead.run(shared, &meter))?;
        Ok(rx)
    }

    /// Tells the output's sink of the previews on its sheets, and progress, which would stand still until a sheet is full.
    fn tells_previews(&mut self, output: usize, outs: &[ToTrack]) -> Told {
        let previews = self.previews.entry(output).or_default().clone();
        let meters: Vec<_> = outs.iter().map(|to| to.meter.clone()).collect();
        Box::new(move |preview| {
            previews.add(preview);
            for meter in &meters {
                meter.reached_us.fetch_max(preview.end.micros(), Ordering::Relaxed);
            }
        })
    }

    /// Whether frames are ours to pace: those that the application pushes have the times that it gives them.
    fn paces(&self) -> bool {
        self.spec.source.frames.is_none()
    }

    /// The stages before scaling.
    fn filters(&mut self, track: &VideoTrack, source: &StreamInfo) -> Result<Chain> {
        let context = FilterContext {
            source: self.spec.source.url.is_some().then(|| self.spec.source.clone()),
            interrupt: self.shared.output_interrupt.clone(),
            origin: self.begin,
            zero: self.zero,
            hdr: source.video.as_ref().map(|v| v.hdr).unwrap_or_default(),
        };
        chain::before_scale(track, &context, &mut self.devices)
    }

    /// `grid` with key frames where the recordings that are made of the encoder's packets are cut.
    fn with_cuts(&self, grid: Option<KeyGrid>, maker: usize) -> Option<KeyGrid> {
        let uses = |index: usize, output: &Output| {
            let shares =
                output.tracks.iter().any(|t| matches!(&t.make, Make::Shared(s) if s.with.0 == maker));
            index == maker || shares
        };
        let outputs = self.resolved.outputs.iter().enumerate().zip(&self.spec.outputs);
        outputs
            .filter(|((index, output), _)| uses(*index, output))
            .filter_map(|(_, spec)| spec.split.spec()?.duration)
            .map(|every| Timestamp::from_seconds(every.0))
            .fold(grid, |grid, every| match grid {
                Some(grid) => Some(grid.with_every(every)),
                None => KeyGrid::every(every),
            })
    }

    fn video_encoder(
        &self,
        output_index: usize,
        outs: &[ToTrack],
        track: &VideoTrack,
        source: &StreamInfo,
        output: &Output,
    ) -> Result<Box<dyn Encoder>> {
        let name = name_of(outs);
        let direct = presets::direct(&track.encoder.name).is_some();
        let grid = self.with_cuts(key_grid(track, output), output_index);
        let hdr = source.video.as_ref().map(|v| v.hdr).unwrap_or_default();
        let tone_mapped = track.spec.filters.iter().any(|f| matches!(f, FilterSpec::ToneMap(_)));
        let path = self.spec.outputs.get(output_index).and_then(|o| o.path.as_deref());
        let timed = track.spec.codec.as_ref().is_some_and(|codec| is_ivf(path, codec));
        let config = VideoEncode {
            frame_rate: track.coded_rate(),
            grid,
            // Of a bare stream's times nothing is left but the rate that its encoder writes, which is that of its base. IVF has
            // times.
            time_base: track
                .frame_rate
                .filter(|_| output.container == Some(Container::Raw) && !timed && !direct)
                .map(Rational::inverse),
            threads: track.threads,
            // NVENC is not opened again for another rate, and packets are counted as was announced.
            fine: self.paces() && (direct || outs.iter().any(|to| to.meter.one_base)),
            hdr: if tone_mapped { Default::default() } else { hdr },
            pass: self.pass.and_then(|p| p.of(output_index, name)),
            ..VideoEncode::new(track.spec.clone())
        };
        if !direct {
            return Ok(Box::new(VideoEncoder::new(config)?));
        }
        let fine = config.fine;
        let track = Direct {
            label: format!("outputs[{output_index}] {name}"),
            shared: self.shared.clone(),
            sessions: self.sessions.clone(),
            claim: self.devices.claim(),
            // Where nothing else may encode, a session that another program holds is waited for.
            waits: !self.spec.fallback,
            cards: nvenc::Cards::default(),
            source: source.video.as_ref().and_then(|v| v.format),
            size: (track.width, track.height),
            config,
        };
        let first = Box::new(NvencEncoder::new(track.config.clone(), track.hooks())?);
        if !self.spec.fallback {
            return Ok(first);
        }
        let (shared, unread) = (self.shared.clone(), super::lost::UNREAD);
        let loss = Box::new(move || shared.lose(1));
        Ok(Box::new(Failover::new(first, successor(track), fine).losing(unread, loss)))
    }
}

/// A track that NVENC encodes.
struct Direct {
    /// Its name in messages.
    label: String,
    shared: Arc<Shared>,
    /// Sessions of the whole job.
    sessions: Arc<AtomicU32>,
    claim: Option<nvenc::Claim>,
    waits: bool,
    /// Where it was encoded so far.
    cards: nvenc::Cards,
    /// The format of the source's pictures, as far as it is known.
    source: Option<PixelFormat>,
    /// The size that is encoded.
    size: (u32, u32),
    config: VideoEncode,
}

impl Direct {
    /// How its encoders talk to the job.
    fn hooks(&self) -> nvenc::Hooks {
        let (told, asked, said) = (self.shared.clone(), self.shared.clone(), self.label.clone());
        nvenc::Hooks {
            tell: Box::new(move |code, message| told.warn(code, format!("{said}: {message}"))),
            given_up: Box::new(move || asked.is_cancelled()),
            waits: self.waits,
            held: self.sessions.clone(),
            claim: self.claim.clone(),
            cards: self.cards.clone(),
        }
    }

    /// An encoder on a GPU that none of its encoders was on, and what to say of it; `None` where there is none that can
    /// do it.
    fn on_another_card(&self) -> Option<(failover::Substitute, String)> {
        let name = self.config.spec.encoder.clone()?;
        let codec = presets::direct(&name)?;
        let tried = self.cards.tried();
        let mut spec = VideoSpec { b_frames: Some(0), ..self.config.spec.clone() };
        // The named one failed, and there are no B-frames; who begins to watch here knows the first one's headers only.
        let mut without = Vec::new();
        for option in ["gpu", "b_ref_mode", "b_adapt", "tf_level"] {
            if spec.options.remove(option).is_some() {
                without.push(option);
            }
        }
        if codec == Codec::Av1 {
            spec.options.insert("repeat-headers".into(), "1".into());
        }
        let wanted = nvenc::Wanted {
            codec: &codec,
            encoder: &name,
            spec: &spec,
            format: self.source,
            size: self.size,
            rate: self.config.frame_rate,
        };
        let gpus = nvenc::gpus().ok()?;
        let able = |gpu: &&nvenc::Gpu| {
            !tried.contains(&gpu.index) && nvenc::fits(&wanted, std::slice::from_ref(*gpu)).is_ok()
        };
        let names: Vec<String> = gpus.iter().filter(able).map(|gpu| gpu.name.clone()).collect();
        if names.is_empty() {
            return None;
        }
        let format = encode::format::input_format(&name, &spec, self.source).ok()?;
        let config = VideoEncode { spec, ..self.config.clone() };
        let encoder = NvencEncoder::new(config, self.hooks()).ok()?.elsewhere();
        let mut said = format!("nvenc on {} goes on", names.join(" or "));
        if !without.is_empty() {
            said += &format!(" without {}", without.join(", "));
        }
        Some((failover::Substitute { encoder: Box::new(encoder), format }, said))
    }
}

/// Where the track's key frames are forced.
fn key_grid(track: &VideoTrack, output: &Output) -> Option<KeyGrid> {
    match (&output.boundaries, track.grid) {
        (Some(starts), _) => Some(KeyGrid::at(starts.clone())),
        (None, Some(interval)) => KeyGrid::every(Timestamp::from_seconds(interval.0))
            .map(|grid| grid.with_early(output.segment.early())),
        (None, None) => None,
    }
}

/// How much sound an encoder gets before the first that is kept: what it makes of the beginning of a run is not what it
/// makes in the middle.
const WARM_UP_SECONDS: f64 = 0.3;

/// The sample at which a part of the whole begins to encode. Frames lie on one grid from sample 0, in all parts.
fn first_sample(window: &Window, wanted: &encode::audio::Wanted) -> i64 {
    let start = window.start(window.spec.first).map_or(0.0, |t| t.seconds());
    let frame = i64::from(wanted.frame_size.max(1));
    let sample = ((start - WARM_UP_SECONDS).max(0.0) * f64::from(wanted.params.sample_rate)) as i64;
    sample / frame * frame
}

/// The sample until which sound that ends too early goes on with silence, so that every segment has some.
fn last_sample(window: &Window, wanted: &encode::audio::Wanted, length: Option<Timestamp>) -> Option<i64> {
    let end = window.end().and_then(|end| window.start(end)).map(|t| t.seconds() + WARM_UP_SECONDS);
    let end = match (end, length.map(|t| t.seconds())) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some((end * f64::from(wanted.params.sample_rate)) as i64)
}

/// What makes the encoder that goes on where NVENC failed: NVENC on another GPU as long as there is one that was not tried,
/// then the best other encoder, once. Options are NVENC's own and end with it; B-frames would need earlier decode times than
/// those that are out.
fn successor(track: Direct) -> failover::Successor {
    let (mut used, mut left) = (false, None);
    Box::new(move |failure, lost| {
        let (shared, config, label) = (&track.shared, &track.config, &track.label);
        shared.lose(lost as u64);
        let losses = || match lost {
            0 => String::new(),
            n => format!("; {n} frames were lost with it"),
        };
        // A card whose sessions are taken has not failed: the server counts failures by this word.
        let what = if failure.kind() == ErrorKind::Busy { "has no room" } else { "failed" };
        // Of a driver that is gone on one GPU others may be left; what it cannot do, another GPU may.
        let hops = left.get_or_insert_with(|| nvenc::gpus().map_or(0, |gpus| gpus.len().saturating_sub(1)));
        if *hops > 0
            && let Some((next, said)) = track.on_another_card()
        {
            *hops -= 1;
            shared.warn("fallback", format!("{label}: nvenc {what} ({failure}); {said}{}", losses()));
            return Ok(next);
        }
        if std::mem::replace(&mut used, true) {
            return Err(failure.clone());
        }
        let codec = config.spec.codec.clone().unwrap_or(Codec::H264);
        let works = |name: &str| match presets::table(name).map(|t| t.input) {
            Some(Input::Host | Input::HostOr(_)) if presets::direct(name).is_none() => probe::probe(name),
            _ => Err(Error::new(ErrorKind::Device, "it does not go on from another's frames")),
        };
        let chosen = select::choose(&codec, None, Device::Auto, true, &works).map_err(|_| failure.clone())?;
        let mut spec = VideoSpec { encoder: Some(chosen.name.clone()), ..config.spec.clone() };
        spec.options.clear();
        let can_choose = presets::table(&chosen.name).is_some_and(|t| t.b_frames.is_some());
        spec.b_frames = can_choose.then_some(0);
        let open = |spec: &VideoSpec| {
            let format = encode::format::input_format(&chosen.name, spec, track.source)?;
            let config = VideoEncode { spec: spec.clone(), ..config.clone() };
            Ok::<_, Error>(failover::Substitute { encoder: Box::new(VideoEncoder::new(config)?), format })
        };
        let mut without = Vec::new();
        if !config.spec.options.is_empty() {
            without.push("options");
        }
        let next = open(&spec).or_else(|_| {
            // What was asked of one encoder only must not end the job with it.
            (spec.level, spec.lookahead, spec.profile, spec.tune) = (None, None, None, None);
            without.extend(["level", "lookahead", "profile", "tune"]);
            open(&spec)
        })?;
        let mut message = format!("{label}: nvenc {what} ({failure}); {} goes on", chosen.name);
        if !without.is_empty() {
            message += &format!(" without {}", without.join(", "));
        }
        message += &losses();
        shared.warn("fallback", message);
        Ok(next)
    })
}

/// The name of the track that is encoded: that of the first that gets it.
fn name_of(outs: &[ToTrack]) -> &str {
    outs.first().map_or("", |to| &to.meter.name)
}

fn shares_filters(a: &VideoTrack, b: &VideoTrack) -> bool {
    let filters = |t: &VideoTrack| serde_json::to_string(&t.spec.filters).unwrap_or_default();
    a.turn == b.turn
        && a.spec.frame_rate == b.spec.frame_rate
        && filters(a) == filters(b)
        && a.placement.shares(&b.placement)
}
