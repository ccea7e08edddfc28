//! From RTMP's messages to a [`Publication`]: tracks are announced once it is known which there are, sound gets exact
//! times.

use super::tag::{self, MS, Tag};
use crate::live::{Publication, registry::Superseded};
use bytes::Bytes;
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::{Rational, Rounding, TimeBase, rescale};
use ghoststream::{Codec, Error};
use rtmp_rs::amf::AmfValue;
use std::collections::HashMap;

/// How long a track that is promised, or might come, is waited for: milliseconds of the publisher's time.
const WAIT: i64 = 1000;
/// Messages that wait for the tracks to be known.
const WAITING: usize = 500;
/// Sound is put where its samples say until its clock is off by more than this, in microseconds.
const OFF: i64 = 30_000;

/// Why a publication ended.
#[derive(Debug)]
pub enum Ended {
    /// Another publisher has it, or it was removed.
    Superseded(Superseded),
    /// What came cannot be published.
    Bad(Error),
}

impl From<Superseded> for Ended {
    fn from(s: Superseded) -> Ended {
        Ended::Superseded(s)
    }
}

impl From<Error> for Ended {
    fn from(e: Error) -> Ended {
        Ended::Bad(e)
    }
}

/// What the publisher said of itself (`onMetaData`).
#[derive(Clone, Debug, Default, PartialEq)]
struct Promise {
    video: Option<bool>,
    audio: Option<bool>,
    frame_rate: Option<Rational>,
}

/// One publisher's media on their way into a stream.
#[derive(Debug)]
pub struct Ingest {
    publication: Publication,
    promise: Promise,
    video: Option<StreamInfo>,
    audio: Option<StreamInfo>,
    announced: bool,
    waiting: Vec<(MediaKind, Packet)>,
    first: Option<i64>,
    /// The last time, without its wraps at 2³² ms.
    clock: Option<i64>,
    sound: Option<Sound>,
    damaged: u64,
}

/// The clock of the sound: exact where the messages' is rounded to milliseconds.
#[derive(Debug)]
struct Sound {
    base: TimeBase,
    /// Ticks of the next frame.
    next: Option<i64>,
}

impl Ingest {
    /// Publishes by `publication`.
    pub fn new(publication: Publication) -> Ingest {
        Ingest {
            publication,
            promise: Promise::default(),
            video: None,
            audio: None,
            announced: false,
            waiting: Vec::new(),
            first: None,
            clock: None,
            sound: None,
            damaged: 0,
        }
    }

    /// The name of the stream.
    pub fn name(&self) -> &str {
        self.publication.stream().name()
    }

    /// Messages that could not be used.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// What the publisher says of its media.
    pub fn metadata(&mut self, fields: &HashMap<String, AmfValue>) {
        let has = |key: &str| match fields.get(key) {
            Some(AmfValue::Number(n)) => Some(*n != 0.0),
            Some(AmfValue::String(s)) => Some(!s.is_empty()),
            _ => None,
        };
        let rate = fields.get("framerate").or(fields.get("fps")).and_then(AmfValue::as_number);
        self.promise = Promise {
            video: has("videocodecid"),
            audio: has("audiocodecid"),
            frame_rate: rate
                .filter(|r| (1.0..=1000.0).contains(r))
                .and_then(|r| Rational::approximate(r, 1001)),
        };
    }

    /// Takes an audio message.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn audio(&mut self, timestamp: u32, body: &Bytes) -> Result<(), Ended> {
        let time = self.time(timestamp);
        let Some(tag) = self.usable(tag::audio(body))? else { return Ok(()) };
        match tag {
            Tag::Config(info) => {
                if self.audio.as_ref().is_none_or(|old| !same(old, &info)) {
                    let rate = info.audio.as_ref().map_or(48_000, |a| a.sample_rate);
                    let base = TimeBase::new(1, i32::try_from(rate).unwrap_or(48_000));
                    self.sound = Some(Sound { base, next: None });
                    self.audio = Some(StreamInfo { time_base: base, ..*info });
                    self.changed()?;
                }
                Ok(())
            }
            Tag::Frame { data, .. } => {
                let Some(packet) = self.sound(time, data) else { return Ok(()) };
                self.packet(MediaKind::Audio, time, packet)
            }
            Tag::Nothing => Ok(()),
        }
    }

    /// Takes a video message.
    ///
    /// # Errors
    /// [`Ended`].
    pub fn video(&mut self, timestamp: u32, body: &Bytes) -> Result<(), Ended> {
        let time = self.time(timestamp);
        if let Some(info) = tag::in_band(body) {
            self.pictures(info)?;
        }
        let Some(tag) = self.usable(tag::video(body))? else { return Ok(()) };
        match tag {
            Tag::Config(info) => self.pictures(*info),
            Tag::Frame { data, key, composition } => {
                if self.video.is_none() {
                    // Nothing can be done with pictures before their description.
                    return Ok(());
                }
                let duration = self.promise.frame_rate.map_or(0, |r| (1000.0 / r.as_f64()).round() as i64);
                let mut packet = Packet::new(data, time + i64::from(composition), duration, MS);
                packet.dts = Some(time);
                packet.key = key;
                self.packet(MediaKind::Video, time, packet)
            }
            Tag::Nothing => Ok(()),
        }
    }

    fn pictures(&mut self, mut info: StreamInfo) -> Result<(), Ended> {
        if let Some(video) = &mut info.video {
            video.frame_rate = self.promise.frame_rate.or(video.frame_rate);
        }
        if self.video.as_ref().is_none_or(|old| !same(old, &info)) {
            self.video = Some(info);
            self.changed()?;
        }
        Ok(())
    }

    /// Damage is counted and left out; a codec that nothing can be done with ends the publication.
    fn usable(&mut self, tag: ghoststream::Result<Tag>) -> Result<Option<Tag>, Ended> {
        match tag {
            Ok(tag) => Ok(Some(tag)),
            Err(e) if e.kind() == ghoststream::ErrorKind::Unsupported => Err(Ended::Bad(e)),
            Err(e) => {
                self.damaged += 1;
                if self.damaged.is_power_of_two() {
                    tracing::warn!(stream = self.name(), damaged = self.damaged, "left out: {}", e.message());
                }
                Ok(None)
            }
        }
    }

    /// The message's time without wraps.
    fn time(&mut self, timestamp: u32) -> i64 {
        let time = match self.clock {
            Some(last) => last + i64::from(timestamp.wrapping_sub(last as u32).cast_signed()),
            None => i64::from(timestamp),
        };
        self.clock = Some(time);
        time
    }

    /// A frame of sound with its exact time.
    fn sound(&mut self, time: i64, data: Bytes) -> Option<Packet> {
        let info = self.audio.as_ref()?;
        let samples = match info.codec {
            Codec::Opus => i64::from(ghoststream::package::bitstream::opus::packet_samples(&data)?),
            _ => i64::from(info.audio.as_ref()?.frame_size),
        };
        let sound = self.sound.as_mut()?;
        let told = rescale(time, MS, sound.base, Rounding::Nearest);
        let off = rescale(OFF, ghoststream::time::MICROSECONDS, sound.base, Rounding::Up);
        let exact = sound.next.filter(|next| (next - told).abs() <= off).unwrap_or(told);
        sound.next = Some(exact + samples);
        let mut packet = Packet::new(data, exact, samples, sound.base);
        packet.dts = Some(exact);
        packet.key = true;
        Some(packet)
    }

    fn packet(&mut self, kind: MediaKind, time: i64, mut packet: Packet) -> Result<(), Ended> {
        let first = *self.first.get_or_insert(time);
        if self.announced {
            packet.stream = usize::from(kind == MediaKind::Audio && self.video.is_some());
            return Ok(self.publication.push(packet)?);
        }
        self.waiting.push((kind, packet));
        // All that was promised is there, or it has been waited for long enough.
        let have =
            |track: &Option<StreamInfo>, promised: Option<bool>| track.is_some() || promised == Some(false);
        let whole = have(&self.video, self.promise.video) && have(&self.audio, self.promise.audio);
        if whole || (time - first).abs() >= WAIT || self.waiting.len() >= WAITING {
            self.announce()?;
        }
        Ok(())
    }

    /// A description came or changed.
    fn changed(&mut self) -> Result<(), Ended> {
        if self.announced { self.announce() } else { Ok(()) }
    }

    fn announce(&mut self) -> Result<(), Ended> {
        let tracks: Vec<StreamInfo> = self.video.iter().chain(&self.audio).cloned().collect();
        self.publication.announce(tracks)?;
        self.announced = true;
        for (kind, mut packet) in std::mem::take(&mut self.waiting) {
            packet.stream = usize::from(kind == MediaKind::Audio && self.video.is_some());
            self.publication.push(packet)?;
        }
        Ok(())
    }
}

/// Whether frames of the one can follow frames of the other.
fn same(a: &StreamInfo, b: &StreamInfo) -> bool {
    a.codec == b.codec
        && a.extradata == b.extradata
        && match (&a.video, &b.video) {
            (Some(a), Some(b)) => (a.width, a.height) == (b.width, b.height),
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::rtmp::tag::frame_of;
    use crate::live::{Item, Live, Publisher, Start};

    const ASC: &[u8] = &[0xaf, 0, 0x11, 0x90];

    fn ingest(live: &Live) -> Ingest {
        Ingest::new(live.publish("a", Publisher::new("rtmp", None)).unwrap())
    }

    fn sound(n: u8) -> Bytes {
        frame_of(&Codec::Aac, &Packet::new(Bytes::from(vec![n; 4]), 0, 0, MS))
    }

    #[test]
    fn sound_is_exact_where_messages_are_rounded() {
        let live = Live::new(true, 9);
        let stream = live.keep("a").unwrap();
        let mut reader = stream.subscribe(Start::Group);
        let mut ingest = ingest(&live);
        ingest.metadata(&HashMap::from([("videocodecid".into(), AmfValue::Number(0.0))]));
        ingest.audio(0, &Bytes::from_static(ASC)).unwrap();
        for n in 0..100_u32 {
            // 1024 samples at 48 kHz are 21⅓ ms.
            ingest.audio(n * 64 / 3, &sound(n as u8)).unwrap();
        }
        // A hole is a hole.
        ingest.audio(5000, &sound(0)).unwrap();
        let Some(Item::Tracks(tracks)) = reader.try_next() else { panic!() };
        assert_eq!(tracks.streams.len(), 1);
        let mut times = Vec::new();
        while let Some(Item::Packet(p)) = reader.try_next() {
            assert_eq!((p.base, p.duration), (TimeBase::new(1, 48_000), 1024));
            times.push(p.pts.unwrap());
        }
        assert_eq!(times.len(), 101);
        assert!(times[..100].windows(2).all(|w| w[1] - w[0] == 1024), "{times:?}");
        assert_eq!(times[100] - times[0], 5000 * 48);
    }

    #[test]
    fn a_track_that_does_not_come_is_not_waited_for_for_ever() {
        let live = Live::new(true, 9);
        let stream = live.keep("a").unwrap();
        let mut ingest = ingest(&live);
        ingest.audio(u32::MAX - 500, &Bytes::from_static(ASC)).unwrap();
        for n in 0..46_u32 {
            ingest.audio((u32::MAX - 500).wrapping_add(n * 64 / 3), &sound(0)).unwrap();
            assert!(stream.tracks().is_none());
        }
        // The clock wraps meanwhile.
        ingest.audio(501, &sound(0)).unwrap();
        assert_eq!(stream.tracks().unwrap().streams.len(), 1);
        assert_eq!(stream.stats().jumps, 0);
    }

    #[test]
    fn a_new_publisher_ends_the_old_one() {
        let live = Live::new(true, 9);
        let mut old = ingest(&live);
        let mut new = ingest(&live);
        for ingest in [&mut old, &mut new] {
            ingest.metadata(&HashMap::from([("videocodecid".into(), AmfValue::Number(0.0))]));
            ingest.audio(0, &Bytes::from_static(ASC)).unwrap();
        }
        assert!(matches!(old.audio(0, &sound(1)), Err(Ended::Superseded(_))));
        new.audio(0, &sound(1)).unwrap();
        drop(old);
        assert!(live.publisher("a").is_some());
        drop(new);
        assert!(live.get("a").is_none());
    }

    #[test]
    fn damage_is_left_out_and_other_codecs_end_it() {
        let live = Live::new(true, 9);
        let mut ingest = ingest(&live);
        ingest.video(0, &Bytes::from_static(&[0x17, 0, 0, 0, 0, 1])).unwrap();
        assert_eq!(ingest.damaged, 1);
        let Err(Ended::Bad(e)) = ingest.audio(0, &Bytes::from_static(&[0x2f, 1])) else { panic!() };
        assert!(e.message().contains("audio codec 2"), "{e}");
    }
}
