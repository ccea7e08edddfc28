//! What a publisher sends, on its way to packets: which simulcast layer, on which clock, when the tracks are known, when to
//! ask for a key frame. Sans-IO: frames and the time go in, what is to be done comes out.

use super::clock::{Clock, Report};
use super::format;
use super::offer::Kind;
use bytes::Bytes;
use ghoststream::packet::{Codec, Packet, StreamInfo};
use ghoststream::time::{MICROSECONDS, Rounding, TimeBase, rescale};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the pictures wait for the sound before the tracks are announced without it.
const FOR_SOUND: Duration = Duration::from_millis(500);
/// How long the sound waits for the pictures.
const FOR_PICTURES: Duration = Duration::from_secs(3);
/// How long a smaller layer waits for a larger one at the start.
const FOR_LAYERS: Duration = Duration::from_secs(1);
/// A layer from which nothing came for so long is gone.
const STALE: Duration = Duration::from_millis(1200);
/// Between two requests for the same key frame.
const ASK: Duration = Duration::from_millis(500);
/// Packets that are kept until the tracks are known.
const HELD: usize = 2000;

/// A frame as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Pictures or sound.
    pub kind: Kind,
    /// How it is coded.
    pub codec: Codec,
    /// The simulcast layer, if there are any.
    pub layer: Option<String>,
    /// Its time in ticks of `rate`.
    pub rtp: u64,
    /// Ticks a second.
    pub rate: u32,
    /// When it came, since the session began.
    pub since: Duration,
    /// The sender's last report on this layer.
    pub report: Option<Report>,
    /// Whether nothing is missing before it.
    pub contiguous: bool,
    /// Whether decoding can start here.
    pub key: bool,
    /// The frame.
    pub data: Arc<[u8]>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Out {
    /// The tracks are these from now on.
    Tracks(Vec<StreamInfo>),
    /// A packet of them.
    Packet(Packet),
    /// The publisher is asked for a key frame of this layer.
    Ask(Option<String>),
}

#[derive(Debug)]
struct Layer {
    clock: Clock,
    /// Pixels of its last key frame; 0 before one.
    pixels: u64,
    last: Duration,
    waits_for_key: bool,
    asked: Option<Duration>,
}

/// See the module.
#[derive(Debug)]
pub struct Intake {
    has_video: bool,
    has_audio: bool,
    /// How old a key frame becomes before the next one is asked for.
    interval: Duration,
    layers: BTreeMap<Option<String>, Layer>,
    /// More than one layer was negotiated.
    simulcast: bool,
    active: Option<Option<String>>,
    sound: Option<Clock>,
    video: Option<StreamInfo>,
    audio: Option<StreamInfo>,
    first_key: Option<Duration>,
    last_key: Option<Duration>,
    first_sound: Option<Duration>,
    /// Whether the pictures and the sound are announced.
    announced: Option<(bool, bool)>,
    held: Vec<(Kind, Packet)>,
    last_pts: [Option<i64>; 2],
    dropped: u64,
    last_any: Duration,
}

impl Intake {
    /// For what was negotiated.
    pub fn new(has_video: bool, has_audio: bool, simulcast: bool, interval: Duration) -> Intake {
        Intake {
            has_video,
            has_audio,
            interval,
            layers: BTreeMap::new(),
            simulcast,
            active: None,
            sound: None,
            video: None,
            audio: None,
            first_key: None,
            last_key: None,
            first_sound: None,
            announced: None,
            held: Vec::new(),
            last_pts: [None; 2],
            dropped: 0,
            last_any: Duration::ZERO,
        }
    }

    /// Frames that were not published: of other layers, damaged, or behind a gap.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// When something came last.
    pub fn last_any(&self) -> Duration {
        self.last_any
    }

    /// Takes a frame.
    pub fn take(&mut self, frame: &Frame) -> Vec<Out> {
        self.last_any = frame.since;
        let mut out = Vec::new();
        match frame.kind {
            Kind::Audio => self.sound(frame, &mut out),
            Kind::Video => self.picture(frame, &mut out),
            Kind::Other => {}
        }
        self.announce(frame.since, &mut out);
        out
    }

    fn sound(&mut self, frame: &Frame, out: &mut Vec<Out>) {
        if frame.codec != Codec::Opus || frame.data.is_empty() {
            self.dropped += 1;
            return;
        }
        self.first_sound.get_or_insert(frame.since);
        if self.audio.is_none() {
            self.audio = format::of_opus().ok();
        }
        let clock = self.sound.get_or_insert_with(|| Clock::new(frame.rate));
        clock.note(frame.rtp, frame.since, frame.report);
        let Some(time) = clock.time(frame.rtp) else { return };
        let mut packet = packet(time, format::SOUND, Bytes::copy_from_slice(&frame.data));
        packet.duration = format::opus_samples(&frame.data);
        self.give(Kind::Audio, packet, out);
    }

    fn picture(&mut self, frame: &Frame, out: &mut Vec<Out>) {
        let now = frame.since;
        let layer = self.layers.entry(frame.layer.clone()).or_insert_with(|| Layer {
            clock: Clock::new(frame.rate),
            pixels: 0,
            last: now,
            waits_for_key: true,
            asked: None,
        });
        layer.clock.note(frame.rtp, now, frame.report);
        layer.last = now;
        layer.waits_for_key |= !frame.contiguous;
        let mut info = None;
        if frame.key {
            match format::of_key_frame(&frame.codec, &frame.data) {
                Ok(found) => {
                    layer.waits_for_key = false;
                    let size = found.video.as_ref().map_or((0, 0), |v| (v.width, v.height));
                    layer.pixels = u64::from(size.0) * u64::from(size.1);
                    info = Some(found);
                }
                // An IDR picture whose parameter sets came before, once: they are those that are announced.
                Err(_) if self.active.as_ref() == Some(&frame.layer) && self.video.is_some() => {
                    layer.waits_for_key = false;
                }
                Err(e) => tracing::debug!("WebRTC: key frame: {e}"),
            }
        }
        let pixels = layer.pixels;
        if !self.choose(&frame.layer, pixels, info.is_some(), now, out) {
            self.dropped += u64::from(self.layers.len() < 2);
            return;
        }
        let Some(layer) = self.layers.get_mut(&frame.layer) else { return };
        if layer.waits_for_key {
            self.dropped += 1;
            ask(&frame.layer, layer, now, out);
            return;
        }
        let time = layer.clock.follow(frame.rtp, self.sound.as_ref());
        if frame.key {
            self.first_key.get_or_insert(now);
            self.last_key = Some(now);
        }
        if let Some(info) = info
            && self.video.as_ref().is_none_or(|old| differ(old, &info))
        {
            self.video = Some(info);
            // The announcement comes before the key frame that it describes.
            if self.announced.is_some() {
                self.tell(out);
            } else {
                self.held.retain(|(kind, _)| *kind != Kind::Video);
            }
        }
        match format::to_packet(&frame.codec, &frame.data) {
            Ok(Some(data)) => {
                let Some(time) = time else { return };
                let mut packet = packet(time, format::VIDEO, data);
                packet.key = frame.key;
                self.give(Kind::Video, packet, out);
            }
            Ok(None) => {}
            Err(e) => {
                tracing::debug!("WebRTC: frame: {e}");
                self.dropped += 1;
                if let Some(layer) = self.layers.get_mut(&frame.layer) {
                    layer.waits_for_key = true;
                }
            }
        }
    }

    /// Whether frames of `layer` are those that are published. Changes to it at a key frame when it is larger, or when the
    /// other is gone.
    fn choose(
        &mut self,
        layer: &Option<String>,
        pixels: u64,
        key: bool,
        now: Duration,
        out: &mut Vec<Out>,
    ) -> bool {
        let Some(active) = &self.active else {
            if key {
                self.active = Some(layer.clone());
            } else if let Some(this) = self.layers.get_mut(layer) {
                ask(layer, this, now, out);
            }
            return key;
        };
        if active == layer {
            return true;
        }
        let (other, last) = self.layers.get(active).map_or((0, Duration::ZERO), |l| (l.pixels, l.last));
        let gone = now.saturating_sub(last) > STALE;
        if key && (gone || pixels > other) {
            tracing::debug!(?layer, "WebRTC: another simulcast layer");
            self.active = Some(layer.clone());
            return true;
        }
        // It may be a larger one, or the only one that is left.
        if let Some(this) = self.layers.get_mut(layer)
            && (gone || this.pixels == 0)
        {
            ask(layer, this, now, out);
        }
        false
    }

    fn give(&mut self, kind: Kind, mut packet: Packet, out: &mut Vec<Out>) {
        let last = &mut self.last_pts[usize::from(kind == Kind::Audio)];
        let pts = packet.pts.unwrap_or(0).max(last.map_or(i64::MIN, |l| l + 1));
        *last = Some(pts);
        (packet.pts, packet.dts) = (Some(pts), Some(pts));
        match self.announced {
            Some(announced) => match track(kind, announced) {
                Some(stream) => {
                    packet.stream = stream;
                    out.push(Out::Packet(packet));
                }
                // `announce` sees that it came and announces it.
                None => self.held.push((kind, packet)),
            },
            None => {
                if self.held.len() >= HELD {
                    self.held.remove(0);
                }
                self.held.push((kind, packet));
            }
        }
    }

    /// Announces what has become known, when nothing more is worth waiting for.
    fn announce(&mut self, now: Duration, out: &mut Vec<Out>) {
        let have = (self.video.is_some(), self.audio.is_some());
        if self.announced == Some(have) || have == (false, false) {
            return;
        }
        let waited = |since: Option<Duration>, long| since.is_some_and(|s| now.saturating_sub(s) >= long);
        let ready = match (self.announced, have) {
            (Some(_), _) => true,
            (None, (true, _)) if self.simulcast && !waited(self.first_key, FOR_LAYERS) => false,
            (None, (true, true)) => true,
            (None, (true, false)) => !self.has_audio || waited(self.first_key, FOR_SOUND),
            (None, _) => !self.has_video || waited(self.first_sound, FOR_PICTURES),
        };
        if !ready {
            return;
        }
        if self.announced.is_some_and(|(video, _)| video) {
            // Readers begin again, at a key frame.
            out.push(Out::Ask(self.active.clone().flatten()));
        }
        self.tell(out);
        for (kind, mut packet) in std::mem::take(&mut self.held) {
            if let Some(stream) = track(kind, have) {
                packet.stream = stream;
                out.push(Out::Packet(packet));
            }
        }
    }

    fn tell(&mut self, out: &mut Vec<Out>) {
        self.announced = Some((self.video.is_some(), self.audio.is_some()));
        out.push(Out::Tracks(self.video.iter().chain(&self.audio).cloned().collect()));
    }

    /// To be called a few times a second: announces what waited long enough, and asks for key frames that do not come.
    pub fn tick(&mut self, now: Duration) -> Vec<Out> {
        let mut out = Vec::new();
        self.announce(now, &mut out);
        if !self.has_video {
            return out;
        }
        let late = match self.last_key {
            None => true,
            Some(last) => now.saturating_sub(last) >= self.interval,
        };
        match &self.active {
            Some(active) => {
                let active = active.clone();
                if let Some(layer) = self.layers.get_mut(&active)
                    && (late || layer.waits_for_key)
                {
                    ask(&active, layer, now, &mut out);
                }
            }
            None => {
                for (name, layer) in &mut self.layers {
                    ask(name, layer, now, &mut out);
                }
            }
        }
        out
    }

    /// A key frame is wanted at once, by somebody who watches.
    pub fn want_key(&mut self, now: Duration) -> Vec<Out> {
        let mut out = Vec::new();
        if let Some(active) = self.active.clone()
            && let Some(layer) = self.layers.get_mut(&active)
        {
            ask(&active, layer, now, &mut out);
        }
        out
    }
}

/// Asks for a key frame, if that was not just done.
fn ask(name: &Option<String>, layer: &mut Layer, now: Duration, out: &mut Vec<Out>) {
    if layer.asked.is_none_or(|asked| now.saturating_sub(asked) >= ASK) {
        layer.asked = Some(now);
        out.push(Out::Ask(name.clone()));
    }
}

/// The index of the track of `kind` when these are announced: pictures, then sound.
fn track(kind: Kind, (video, audio): (bool, bool)) -> Option<usize> {
    match kind {
        Kind::Video => video.then_some(0),
        Kind::Audio => audio.then_some(usize::from(video)),
        Kind::Other => None,
    }
}

fn packet(micros: i64, base: TimeBase, data: Bytes) -> Packet {
    Packet::new(data, rescale(micros, MICROSECONDS, base, Rounding::Nearest), 0, base)
}

/// Whether a decoder or a container has to be told.
fn differ(a: &StreamInfo, b: &StreamInfo) -> bool {
    a.codec != b.codec || a.extradata != b.extradata || a.video != b.video
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp8(width: u16, key: bool) -> Arc<[u8]> {
        let [w0, w1] = width.to_le_bytes();
        let frame = [u8::from(!key) | 0x10, 0, 0, 0x9d, 0x01, 0x2a, w0, w1, 0xb4, 0x00, 7];
        frame.to_vec().into()
    }

    fn picture(layer: Option<&str>, ms: u64, width: u16, key: bool) -> Frame {
        Frame {
            kind: Kind::Video,
            codec: Codec::Vp8,
            layer: layer.map(String::from),
            rtp: 1_000_000 + ms * 90,
            rate: 90_000,
            since: Duration::from_millis(ms),
            report: None,
            contiguous: true,
            key,
            data: vp8(width, key),
        }
    }

    fn sound(ms: u64) -> Frame {
        Frame {
            kind: Kind::Audio,
            codec: Codec::Opus,
            layer: None,
            rtp: 77 + ms * 48,
            rate: 48_000,
            since: Duration::from_millis(ms),
            report: None,
            contiguous: true,
            key: true,
            data: vec![0x78, 1].into(),
        }
    }

    /// What came out, in short: `T2` two tracks, `V100`/`A100` packets with their times in ms, `K` an asked key frame.
    fn short(out: &[Out]) -> String {
        let one = |o: &Out| match o {
            Out::Tracks(t) => format!("T{}", t.len()),
            Out::Packet(p) => {
                let ms = rescale(p.pts.unwrap(), p.base, MICROSECONDS, Rounding::Nearest) as f64 / 1000.0;
                format!("{}{}", if p.base == format::SOUND { 'A' } else { 'V' }, ms.round())
            }
            Out::Ask(layer) => format!("K{}", layer.as_deref().unwrap_or_default()),
        };
        out.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_tracks_come_first_and_nothing_is_lost_while_they_are_found() {
        let mut intake = Intake::new(true, true, false, LONG);
        assert_eq!(short(&intake.take(&sound(0))), "");
        assert_eq!(
            short(&intake.take(&picture(None, 5, 320, false))),
            "K",
            "not a key frame: one is asked for"
        );
        assert_eq!(short(&intake.take(&picture(None, 10, 320, true))), "T2 A0 V10");
        assert_eq!(short(&intake.take(&picture(None, 50, 320, false))), "V50");
        assert_eq!(short(&intake.take(&sound(60))), "A60");
        assert_eq!(intake.dropped(), 1);
    }

    #[test]
    fn pictures_without_sound_do_not_wait_for_ever() {
        let mut intake = Intake::new(true, true, false, LONG);
        assert_eq!(short(&intake.take(&picture(None, 0, 320, true))), "");
        assert_eq!(short(&intake.take(&picture(None, 40, 320, false))), "");
        assert_eq!(short(&intake.tick(Duration::from_millis(600))), "T1 V0 V40");
        // It comes after all: readers start again, so a key frame is wanted.
        assert_eq!(short(&intake.take(&sound(1000))), "K T2 A1000");
        assert_eq!(short(&intake.take(&picture(None, 1040, 320, true))), "V1040");
    }

    #[test]
    fn another_size_is_announced_before_its_first_picture() {
        let mut intake = Intake::new(true, false, false, LONG);
        assert_eq!(short(&intake.take(&picture(None, 0, 320, true))), "T1 V0");
        assert_eq!(short(&intake.take(&picture(None, 40, 320, true))), "V40");
        assert_eq!(short(&intake.take(&picture(None, 80, 640, true))), "T1 V80");
    }

    #[test]
    fn behind_a_gap_the_next_key_frame_comes_first() {
        let mut intake = Intake::new(true, false, false, LONG);
        intake.take(&picture(None, 0, 320, true));
        let broken = Frame { contiguous: false, ..picture(None, 80, 320, false) };
        assert_eq!(short(&intake.take(&broken)), "K");
        assert_eq!(short(&intake.take(&picture(None, 120, 320, false))), "", "asked just now");
        assert_eq!(short(&intake.tick(Duration::from_millis(700))), "K", "and again when it does not come");
        assert_eq!(short(&intake.take(&picture(None, 720, 320, true))), "V720");
        assert_eq!(intake.dropped(), 2);
    }

    #[test]
    fn key_frames_are_asked_for_in_time() {
        let mut intake = Intake::new(true, false, false, Duration::from_secs(2));
        intake.take(&picture(None, 0, 320, true));
        assert_eq!(short(&intake.tick(Duration::from_millis(1900))), "");
        assert_eq!(short(&intake.tick(Duration::from_millis(2000))), "K");
        assert_eq!(short(&intake.tick(Duration::from_millis(2100))), "");
        assert_eq!(short(&intake.want_key(Duration::from_millis(3000))), "K");
    }

    #[test]
    fn the_largest_layer_that_arrives_is_published() {
        let mut intake = Intake::new(true, false, true, LONG);
        assert_eq!(short(&intake.take(&picture(Some("l"), 0, 160, true))), "");
        assert_eq!(short(&intake.take(&picture(Some("h"), 5, 640, true))), "", "it waits for more");
        assert_eq!(short(&intake.take(&picture(Some("l"), 40, 160, false))), "");
        assert_eq!(short(&intake.take(&picture(Some("h"), 1200, 640, false))), "T1 V5 V1200");
        // The large one stops: the small one takes over at its key frame, which is asked for.
        assert_eq!(short(&intake.take(&picture(Some("l"), 1300, 160, false))), "");
        assert_eq!(short(&intake.take(&picture(Some("l"), 2500, 160, false))), "Kl");
        assert_eq!(short(&intake.take(&picture(Some("l"), 2600, 160, true))), "T1 V2600");
        // And back.
        assert_eq!(short(&intake.take(&picture(Some("h"), 2700, 640, true))), "T1 V2700");
        assert_eq!(short(&intake.take(&picture(Some("l"), 2710, 160, true))), "");
    }
}
