//! HLS playlists of an origin's windows.

use super::learn::Shape;
use super::names::{File, Format};
use super::window::{Piece, Stored, Window};
use ghoststream::frame::Colour;
use ghoststream::package::bitstream::captions::Captions;
use ghoststream::package::hls::{
    IFrameVariant, LowLatency, Map, MediaPart, MediaPlaylist, MediaSegment, Multivariant, PlaylistKind,
    PreloadHint, Rendition, RenditionKind, RenditionReport, Variant, VideoRange,
};
use ghoststream::package::language;
use ghoststream::package::{Track, audience};
use ghoststream::packet::MediaKind;

/// What all playlists of an origin share.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The token of this opening.
    pub token: String,
    /// The target durations.
    pub shape: Shape,
    /// Wall-clock time of the stream's time 0, in microseconds since 1970.
    pub epoch: i64,
    /// Whether there are parts.
    pub low_latency: bool,
    /// Whether nothing comes any more.
    pub ended: bool,
    /// The run that has begun, and whose init segments are not there yet.
    pub coming: Option<u64>,
    /// Captions that were seen in all pictures.
    pub captions: Captions,
}

/// By how much parts are told to be longer than they are, in microseconds. Behind the first, each is then told to begin later than it does
/// by more than doubles differ by. Where that is the same for all, shaka-player 5.2 holds the two against each other with a difference
/// of one millisecond, which it adds itself, and a limit of one millisecond: as rounding will have it, it begins anew with any part, and
/// shows nothing of it before the next key frame.
const MORE: i64 = 1;

const GROUP: &str = "audio";
const SUBTITLES: &str = "subtitles";
const CAPTIONS: &str = "captions";

impl Facts {
    fn target(&self) -> i64 {
        i64::from(self.shape.target) * 1_000_000
    }

    /// Whether a rendition's playlist tells of parts.
    fn has_parts(&self, window: &Window) -> bool {
        self.low_latency && window.format.has_parts()
    }

    fn server_control(&self, window: &Window) -> Option<LowLatency> {
        self.has_parts(window).then(|| LowLatency {
            part_target: self.shape.part,
            part_hold_back: 3 * self.shape.part,
            hold_back: 3 * self.target(),
            can_skip_until: Some(6 * self.target()),
            can_block_reload: true,
        })
    }

    fn map(&self, window: &Window, run: u64) -> Option<Map> {
        let there = window.format == Format::Cmaf;
        there.then(|| Map { uri: File::Init(run).name(&window.id, &self.token), range: None })
    }

    fn parts(&self, window: &Window, first: u64, parts: &[Piece]) -> Vec<MediaPart> {
        // Of sound one could begin with any part, and hls.js 1.7 does, even in the middle of a segment; then it goes on to the next
        // one only where what is buffered ends no earlier than it takes the segment to end, which it knows to the millisecond of
        // our dates: one time in three or so it stood still there. It begins where it is told that it can.
        let anywhere = window.kind != MediaKind::Audio;
        let part = |(i, piece): (usize, &Piece)| MediaPart {
            uri: File::Part(first + i as u64).name(&window.id, &self.token),
            duration: (piece.duration + MORE).min(self.shape.part.max(piece.duration)),
            independent: piece.independent && (anywhere || i == 0),
            range: None,
            gap: false,
        };
        parts.iter().enumerate().map(part).collect()
    }

    fn entry(&self, window: &Window, sequence: u64, segment: &Stored, parts: bool) -> MediaSegment {
        let uri = File::Segment(sequence).name(&window.id, &self.token);
        MediaSegment {
            // A run that this rendition has no part in has no init segment for it either.
            map: if segment.gap { None } else { self.map(window, segment.run) },
            discontinuity: segment.discontinuity,
            program_date_time: Some(self.epoch + segment.start.micros()),
            gap: segment.gap,
            parts: if parts { self.parts(window, segment.first_part, &segment.parts) } else { Vec::new() },
            ..MediaSegment::new(uri, segment.duration)
        }
    }

    /// The media playlist of `window`; `others` are the other renditions. With `skip` what a client must know already is
    /// left out, if that is anything.
    pub fn media(&self, window: &Window, others: &[&Window], skip: bool) -> MediaPlaylist {
        let low_latency = self.has_parts(window);
        let (first, listed) = window.listed();
        let listed: Vec<&Stored> = listed.collect();
        let lengths: Vec<i64> = listed.iter().map(|s| s.duration.micros()).collect();
        let open = window.open();
        let tail: i64 = open.map_or(0, |o| o.parts.iter().map(|p| p.duration).sum());
        // How far each segment's end is from the end of the playlist.
        let mut ages = vec![0; lengths.len()];
        let mut age = tail;
        for (i, length) in lengths.iter().enumerate().rev() {
            ages[i] = age;
            age += length;
        }
        let mut skipped = 0;
        if skip && low_latency {
            skipped = ages.iter().take_while(|age| **age > 6 * self.target()).count();
            // A discontinuity is not the first thing behind what is skipped: players count those that they see.
            while skipped > 0 && listed.get(skipped).is_some_and(|s| s.discontinuity) {
                skipped -= 1;
            }
        }
        let with_parts = |i: usize| low_latency && ages[i] < 3 * self.target();
        let segments = listed.iter().enumerate().skip(skipped);
        let discontinuity_sequence = match (listed.first(), open) {
            (Some(first), _) => first.run - u64::from(first.discontinuity),
            (None, Some(open)) => open.run,
            (None, None) => 0,
        };
        MediaPlaylist {
            kind: PlaylistKind::Live,
            target_duration: self.shape.target,
            media_sequence: first,
            discontinuity_sequence,
            // Pictures may be cut where there is no key frame (see the module's description); sound never is.
            independent_segments: window.kind == MediaKind::Audio,
            low_latency: self.server_control(window),
            skipped: skipped as u64,
            segments: segments.map(|(i, s)| self.entry(window, first + i as u64, s, with_parts(i))).collect(),
            open_parts: open
                .filter(|_| low_latency)
                .map_or(Vec::new(), |o| self.parts(window, o.first_part, &o.parts)),
            open_discontinuity: low_latency && open.is_some_and(|o| o.discontinuity),
            open_map: open.filter(|_| low_latency).and_then(|o| self.map(window, o.run)),
            open_date_time: open.filter(|_| low_latency).map(|o| self.epoch + o.start.micros()),
            hints: self.hints(window),
            reports: if low_latency { self.reports(others) } else { Vec::new() },
            ended: self.ended,
            ..MediaPlaylist::default()
        }
    }

    fn hints(&self, window: &Window) -> Vec<PreloadHint> {
        // Of a text that was left out nothing comes.
        if !self.has_parts(window) || self.ended || (window.format == Format::Text && !window.live) {
            return Vec::new();
        }
        let hint = |map, file: File| PreloadHint { map, uri: file.name(&window.id, &self.token), start: 0 };
        let coming = self.coming.filter(|_| window.live && window.format == Format::Cmaf);
        let map = coming.map(|run| hint(true, File::Init(run)));
        map.into_iter().chain([hint(false, File::Part(window.next_part()))]).collect()
    }

    fn reports(&self, others: &[&Window]) -> Vec<RenditionReport> {
        if self.ended {
            return Vec::new();
        }
        let report = |window: &&Window| {
            let (last_sequence, last_part) = window.last()?;
            let uri = File::Playlist.name(&window.id, &self.token);
            Some(RenditionReport { uri, last_sequence, last_part })
        };
        // Those in MPEG-TS are of another multivariant playlist, text in MP4 is of none.
        let told = |w: &&&Window| !matches!(w.format, Format::Ts | Format::Wvtt);
        others.iter().filter(told).filter_map(report).collect()
    }

    /// The I-frame playlist of `window`: no parts, and its own numbers.
    pub fn keys(&self, window: &Window) -> MediaPlaylist {
        let (first, listed) = window.listed();
        let listed: Vec<&Stored> = listed.collect();
        let entries = listed.iter().enumerate().filter_map(|(i, segment)| {
            let mut entry = self.entry(window, first + i as u64, segment, false);
            entry.range = Some(segment.key_range.clone()?);
            Some(entry)
        });
        let shown = listed.iter().find(|s| s.key_range.is_some());
        MediaPlaylist {
            kind: PlaylistKind::Live,
            target_duration: self.shape.target,
            media_sequence: shown.or(listed.last()).map_or(0, |s| s.keys_before),
            discontinuity_sequence: shown.map_or(0, |s| s.run - u64::from(s.discontinuity)),
            i_frames_only: true,
            segments: entries.collect(),
            ended: self.ended,
            ..MediaPlaylist::default()
        }
    }

    /// The multivariant playlist of the renditions in MPEG-TS: pictures and the first sound in one, further sounds beside
    /// them.
    pub fn multivariant_ts(&self, windows: &[Window]) -> Multivariant {
        let videos = known(windows, Format::Ts, MediaKind::Video);
        let sounds = known(windows, Format::Ts, MediaKind::Audio);
        let heaviest = sounds.iter().map(|(w, _)| w.bandwidth()).max_by_key(|(_, peak)| *peak);
        let (sound_average, sound_peak) = heaviest.unwrap_or((0, 0));
        let inside = videos.iter().find_map(|(w, _)| w.with.first());
        let choice = !videos.is_empty() && !sounds.is_empty();
        let group = choice.then(|| GROUP.to_string());
        let variants = match videos.is_empty() {
            true => sounds.first().map(|(w, _)| self.variant(w, (0, 0), &[], None)).into_iter().collect(),
            false => {
                let further: Vec<String> = sounds.iter().flat_map(|(w, _)| w.codecs()).collect();
                let variant = |(w, _): &(&Window, &Track)| {
                    self.variant(w, (sound_average, sound_peak), &further, group.clone())
                };
                videos.iter().map(variant).collect()
            }
        };
        let mut renditions = Vec::new();
        if let Some(group) = &group {
            let uris = inside.map(|track| (None, track)).into_iter();
            let uris = uris.chain(sounds.iter().map(|(w, track)| (Some(*w), *track)));
            for (i, (window, track)) in uris.enumerate() {
                renditions.push(self.sound_rendition(group, i, window, track));
            }
        }
        renditions.extend(self.caption_renditions(!videos.is_empty()));
        let i_frames = videos.iter().filter_map(|(w, t)| self.i_frames(w, t)).collect();
        Multivariant { renditions, variants, i_frames, independent_segments: false }
    }

    /// A variant of `window` beside sounds of such average and peak rates, with such codecs.
    fn variant(
        &self,
        window: &Window,
        (sound_average, sound_peak): (u64, u64),
        codecs: &[String],
        audio: Option<String>,
    ) -> Variant {
        let (average, peak) = window.bandwidth();
        let track = window.track.as_ref().filter(|_| window.kind == MediaKind::Video);
        Variant {
            uri: File::Playlist.name(&window.id, &self.token),
            bandwidth: peak + sound_peak,
            average_bandwidth: Some(average + sound_average),
            codecs: [window.codecs(), codecs.to_vec()].concat(),
            supplemental_codecs: track.and_then(Track::supplemental_codecs),
            resolution: track.map(|t| (t.width, t.height)),
            frame_rate: track.and_then(Track::frame_rate),
            video_range: track.map(range),
            audio,
            subtitles: None,
        }
    }

    /// The `i`th soundtrack of `group`; without a window it is inside the pictures' segments.
    fn sound_rendition(&self, group: &str, i: usize, window: Option<&Window>, track: &Track) -> Rendition {
        let mut rendition = Rendition::new(RenditionKind::Audio, group, sound_name(i, track));
        rendition.uri = window.map(|w| File::Playlist.name(&w.id, &self.token));
        rendition.language = track.info.language.as_deref().map(language::tag);
        (rendition.default, rendition.autoselect) = (i == 0, true);
        rendition.characteristics = audience::characteristics(track.info.disposition);
        rendition.channels = Some(track.channels);
        rendition
    }

    /// What is said of the captions in the pictures, where there are some.
    fn caption_renditions(&self, pictures: bool) -> Vec<Rendition> {
        let seen = if pictures { self.captions } else { Captions::default() };
        let lines = seen.lines().map(|n| (format!("CC{n}"), format!("CC{n}")));
        let services = seen.services().map(|n| (format!("Service {n}"), format!("SERVICE{n}")));
        let all = lines.chain(services).map(|(name, instream)| {
            let mut rendition = Rendition::new(RenditionKind::ClosedCaptions, CAPTIONS, name);
            (rendition.instream, rendition.autoselect) = (Some(instream), true);
            rendition
        });
        all.collect()
    }

    /// The entry of a rendition's I-frame playlist, when it has key frames.
    fn i_frames(&self, window: &Window, track: &Track) -> Option<IFrameVariant> {
        let keys: Vec<&Stored> = window.listed().1.filter(|s| s.key_range.is_some()).collect();
        let bits = |s: &&Stored| {
            let bytes = s.key_range.as_ref().map_or(0, |r| r.end - r.start);
            (bytes as f64 * 8.0 / s.duration.seconds().max(0.001)) as u64
        };
        let most = keys.iter().map(bits).max()?;
        Some(IFrameVariant {
            uri: File::Keys.name(&window.id, &self.token),
            bandwidth: most.max(1),
            average_bandwidth: Some(keys.iter().map(bits).sum::<u64>() / keys.len() as u64),
            codecs: window.codecs().into_iter().take(1).collect(),
            resolution: Some((track.width, track.height)),
            video_range: Some(range(track)),
        })
    }

    /// The multivariant playlist of the renditions that are made now (of all, where none is).
    pub fn multivariant(&self, windows: &[Window]) -> Multivariant {
        let videos = known(windows, Format::Cmaf, MediaKind::Video);
        let sounds = known(windows, Format::Cmaf, MediaKind::Audio);
        let texts = known(windows, Format::Text, MediaKind::Subtitle);
        let subtitles = (!texts.is_empty()).then(|| SUBTITLES.to_string());
        let heaviest = sounds.iter().map(|(w, _)| w.bandwidth()).max_by_key(|(_, peak)| *peak);
        let (sound_average, sound_peak) = heaviest.unwrap_or((0, 0));
        let sound_codecs: Vec<String> = sounds.iter().map(|(_, t)| t.codecs()).collect();
        let alone = videos.is_empty();
        // Sound that plays alone is a variant, and needs to be a rendition only where there is a choice.
        let group = (sounds.len() > usize::from(alone)).then(|| GROUP.to_string());
        let mut variants = Vec::new();
        let mut i_frames = Vec::new();
        for (window, track) in &videos {
            let rates = (sound_average, sound_peak);
            let variant = self.variant(window, rates, &sound_codecs, group.clone());
            variants.push(Variant { subtitles: subtitles.clone(), ..variant });
            i_frames.extend(self.i_frames(window, track));
        }
        if let (true, Some((window, _))) = (alone, sounds.first()) {
            variants.push(Variant {
                uri: File::Playlist.name(&window.id, &self.token),
                bandwidth: sound_peak,
                average_bandwidth: Some(sound_average),
                codecs: sound_codecs,
                audio: group.clone(),
                subtitles: subtitles.clone(),
                ..Variant::default()
            });
        }
        let renditions = sounds.iter().enumerate().filter_map(|(i, (window, track))| {
            Some(self.sound_rendition(group.as_deref()?, i, Some(window), track))
        });
        let texts = texts.iter().enumerate().map(|(i, (window, track))| {
            let mut rendition = Rendition::new(RenditionKind::Subtitles, SUBTITLES, text_name(i, track));
            rendition.uri = Some(File::Playlist.name(&window.id, &self.token));
            rendition.language = track.info.language.as_deref().map(language::tag);
            (rendition.autoselect, rendition.forced) = (true, track.info.disposition.forced);
            rendition.characteristics = audience::text_characteristics(track.info.disposition);
            rendition
        });
        let captions = self.caption_renditions(!alone);
        let renditions = renditions.chain(texts).chain(captions).collect();
        Multivariant { renditions, variants, i_frames, independent_segments: false }
    }
}

/// The renditions of a format and kind whose tracks are known: those that are made now, or all where none of their playlist is.
fn known(windows: &[Window], format: Format, kind: MediaKind) -> Vec<(&Window, &Track)> {
    let together = |w: &&Window| (w.format == Format::Ts) == (format == Format::Ts);
    let any_live = windows.iter().filter(together).any(|w| w.live && w.track.is_some());
    let known = windows.iter().filter(|w| w.format == format);
    let of = known.filter(|w| w.kind == kind && (w.live || !any_live));
    of.filter_map(|w| Some((w, w.track.as_ref()?))).collect()
}

fn range(track: &Track) -> VideoRange {
    if track.colour == Colour::default() { VideoRange::default() } else { VideoRange::of(track.colour) }
}

/// What a menu shows of a text.
pub(super) fn text_name(index: usize, track: &Track) -> String {
    match track.info.title.clone().or(track.info.language.clone()) {
        Some(name) if index == 0 => name,
        Some(name) => format!("{name} {}", index + 1),
        None => format!("Subtitles {}", index + 1),
    }
}

/// What a menu shows: unique, as the count is in it where there are more.
pub(super) fn sound_name(index: usize, track: &Track) -> String {
    let name = track.info.title.clone().or(track.info.language.clone());
    match (index, name) {
        (0, Some(name)) => name,
        (0, None) => "Audio".into(),
        (n, Some(name)) => format!("{name} {}", n + 1),
        (n, None) => format!("Audio {}", n + 1),
    }
}
