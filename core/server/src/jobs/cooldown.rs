//! Hardware encoders that keep failing are off for a while, for jobs and playback sessions alike, and so are decoders, each for
//! itself: they are other parts of a card. Not beyond a restart: that is how a driver or a card is mended, and if it was not,
//! three failures switch it off again.

use super::record::{accel_of, now};
use ghoststream::plan::Plan;
use ghoststream::spec::Device;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Failures of one that switch it off.
const FAILURES: u32 = 3;
/// How long it stays off at first, and at most, in seconds.
const OFF: (f64, f64) = (5.0 * 60.0, 60.0 * 60.0);

/// Hardware that failed too often of late, by its name. Pure.
#[derive(Clone, Debug, Default)]
struct Cooldown(BTreeMap<String, Record>);

#[derive(Clone, Debug, Default)]
struct Record {
    failures: u32,
    /// The sources that it failed on, where they are told apart.
    sources: BTreeSet<u64>,
    /// How often it was switched off without a success in between.
    times: u32,
    until: f64,
}

impl Cooldown {
    /// As [`Cooldown::failed`], of what a source may be to blame for: each of them counts once.
    fn failed_on(&mut self, name: &str, source: u64, now: f64) -> Option<f64> {
        if !self.0.entry(name.into()).or_default().sources.insert(source) {
            return None;
        }
        self.failed(name, now)
    }

    /// Notes a failure at `now` (seconds); gives for how long it is off, if it now is.
    fn failed(&mut self, name: &str, now: f64) -> Option<f64> {
        let record = self.0.entry(name.into()).or_default();
        record.failures += 1;
        if record.failures < FAILURES {
            return None;
        }
        let off = (OFF.0 * f64::from(2_u32.saturating_pow(record.times.min(8)))).min(OFF.1);
        (record.failures, record.times, record.until) = (0, record.times + 1, now + off);
        record.sources.clear();
        Some(off)
    }

    /// Notes a success.
    fn worked(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Those that are off at `now`, with the seconds that are left.
    fn off(&self, now: f64) -> impl Iterator<Item = (&str, f64)> {
        let off = self.0.iter().filter(move |(_, r)| r.until > now);
        off.map(move |(name, r)| (name.as_str(), r.until - now))
    }
}

/// Encoders have the contract's words (`nvenc` …), decoders those of FFmpeg's devices (`cuda` …).
#[derive(Debug, Default)]
struct Both {
    encoders: Cooldown,
    decoders: Cooldown,
}

/// The cool-downs that all jobs and sessions of a server share; so do clones.
#[derive(Clone, Debug, Default)]
pub struct Cooldowns(Arc<Mutex<Both>>);

impl Cooldowns {
    fn lock(&self) -> MutexGuard<'_, Both> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure of `accel` to encode; a sentence, if it is off from now on.
    pub fn failed(&self, accel: &str) -> Option<String> {
        let off = self.lock().encoders.failed(accel, now())?;
        let said = format!("{accel} keeps failing and is off for {:.0} minutes", off / 60.0);
        tracing::warn!(encoder = accel, "{said}");
        Some(said)
    }

    /// Notes a success of `accel`.
    pub fn worked(&self, accel: &str) {
        self.lock().encoders.worked(accel);
    }

    /// Why an encoder that is asked for by `accel` should not be used now: it is off, or `auto` would find one that is.
    pub fn against(&self, accel: &str) -> Option<String> {
        let both = self.lock();
        let (name, left) = both.encoders.off(now()).find(|(name, _)| accel == "auto" || *name == accel)?;
        Some(format!("{name} keeps failing and is off for another {:.0} minutes", (left / 60.0).ceil()))
    }

    /// Those that are off, with the seconds that are left.
    pub fn off(&self) -> BTreeMap<String, u64> {
        seconds(&self.lock().encoders)
    }

    /// Notes that `device` stopped decoding `source`; a sentence, if it is left alone from now on. The source may be what is broken:
    /// each counts once, however often it is tried.
    pub fn decoder_failed(&self, device: &str, source: &str) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        source.hash(&mut hasher);
        let off = self.lock().decoders.failed_on(device, hasher.finish(), now())?;
        let minutes = off / 60.0;
        let said =
            format!("decoding on {device} keeps failing and is done in software for {minutes:.0} minutes");
        tracing::warn!(device, "{said}");
        Some(said)
    }

    /// Notes that `device` decoded to the end.
    pub fn decoder_worked(&self, device: &str) {
        self.lock().decoders.worked(device);
    }

    /// Why what is encoded on `device` should be decoded in software now: its decoder is off, or that of one that `auto` may
    /// find.
    pub fn against_decoder(&self, device: Device) -> Option<String> {
        let both = self.lock();
        let asked = |name: &str| device == Device::Auto || device.ffmpeg_name() == Some(name);
        let (name, left) = both.decoders.off(now()).find(|(name, _)| asked(name))?;
        let minutes = (left / 60.0).ceil();
        Some(format!(
            "decoding on {name} keeps failing and is done in software for another {minutes:.0} minutes"
        ))
    }

    /// Devices that decode nothing now, with the seconds that are left.
    pub fn decoders_off(&self) -> BTreeMap<String, u64> {
        seconds(&self.lock().decoders)
    }
}

fn seconds(cooldown: &Cooldown) -> BTreeMap<String, u64> {
    cooldown.off(now()).map(|(name, left)| (name.to_string(), left.ceil() as u64)).collect()
}

/// The device that pictures are decoded on by `plan`, if they are on one.
pub fn decodes_on(plan: &Plan) -> Option<String> {
    plan.decoders.iter().map(|d| &d.device).find(|device| *device != "software").cloned()
}

/// Whether the engine says in `warning` that a device stopped decoding in mid-stream. That it does not take a stream is no
/// failure.
pub fn stopped_decoding(warning: &str) -> bool {
    warning.contains(" no longer decodes (")
}

/// The hardware of which the engine says in `warning` that another encoder went on for it; `None` where the same kind did, on
/// another card.
pub fn failed_over(warning: &str) -> Option<&'static str> {
    let (before, after) = warning.split_once(" failed (")?;
    let failed = accel_of(&format!("_{}", before.rsplit(' ').next()?));
    // What went wrong may have brackets of its own.
    let (_, next) = after.rsplit_once("); ")?;
    let next = next.split(' ').next()?;
    (failed != "software" && next != failed && accel_of(next) != failed).then_some(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoder_that_keeps_failing_is_off_for_ever_longer() {
        let mut c = Cooldown::default();
        assert_eq!((c.failed("nvenc", 0.0), c.failed("nvenc", 1.0)), (None, None));
        let usable = |c: &Cooldown, name: &str, now| c.off(now).all(|(off, _)| off != name);
        assert!(usable(&c, "nvenc", 1.0));
        assert_eq!(c.failed("nvenc", 2.0), Some(300.0));
        assert!(!usable(&c, "nvenc", 301.0) && usable(&c, "nvenc", 302.0) && usable(&c, "qsv", 3.0));
        assert_eq!(c.off(3.0).collect::<Vec<_>>(), [("nvenc", 299.0)]);
        let mut last = 300.0;
        for _ in 0..6 {
            for _ in 0..2 {
                assert_eq!(c.failed("nvenc", 0.0), None);
            }
            let off = c.failed("nvenc", 0.0).unwrap();
            assert!(off >= last && off <= 3600.0);
            last = off;
        }
        assert_eq!(last, 3600.0);
        c.worked("nvenc");
        assert!(usable(&c, "nvenc", 0.0));
    }

    #[test]
    fn jobs_and_sessions_count_together_and_are_told() {
        let jobs = Cooldowns::default();
        let session = jobs.clone();
        assert!(jobs.failed("nvenc").is_none());
        assert!(session.failed("nvenc").is_none() && session.against("nvenc").is_none());
        assert_eq!(jobs.failed("nvenc").as_deref(), Some("nvenc keeps failing and is off for 5 minutes"));
        assert_eq!(session.against("qsv"), None);
        for accel in ["nvenc", "auto"] {
            let why = session.against(accel).unwrap();
            assert_eq!(why, "nvenc keeps failing and is off for another 5 minutes");
        }
        assert_eq!(session.off().into_iter().collect::<Vec<_>>(), [("nvenc".to_string(), 300)]);
        session.worked("nvenc");
        assert!(jobs.off().is_empty());
    }

    #[test]
    fn decoders_are_counted_for_themselves() {
        let jobs = Cooldowns::default();
        for failure in 1..=3 {
            assert_eq!(jobs.decoder_failed("cuda", &format!("{failure}.mp4")).is_some(), failure == 3);
        }
        assert!(jobs.off().is_empty() && jobs.against("nvenc").is_none(), "its encoder works");
        assert_eq!(jobs.decoders_off().into_iter().collect::<Vec<_>>(), [("cuda".to_string(), 300)]);
        for (device, off) in
            [(Device::Cuda, true), (Device::Auto, true), (Device::Vaapi, false), (Device::Software, false)]
        {
            let why = jobs.against_decoder(device);
            assert_eq!(why.is_some_and(|why| why.contains("cuda keeps failing")), off, "{device:?}");
        }
        jobs.decoder_worked("cuda");
        assert!(jobs.decoders_off().is_empty() && jobs.against_decoder(Device::Cuda).is_none());
        assert!(stopped_decoding(
            "a.mp4, stream 0: cuda no longer decodes (decode: lost); decoding in software"
        ));
        assert!(!stopped_decoding("a.mp4, stream 0: cuda does not decode this stream; decoding in software"));
    }

    #[test]
    fn a_source_that_is_broken_takes_no_decoder_from_the_others() {
        let jobs = Cooldowns::default();
        for _ in 0..10 {
            assert_eq!(jobs.decoder_failed("cuda", "broken.mp4"), None);
        }
        assert!(jobs.decoders_off().is_empty());
        assert_eq!(jobs.decoder_failed("vaapi", "broken.mp4"), None, "each device counts for itself");
        assert_eq!(jobs.decoder_failed("cuda", "two.mp4"), None);
        assert!(jobs.decoder_failed("cuda", "three.mp4").is_some_and(|said| said.contains("for 5 minutes")));
        // It counts once for the next time too.
        for source in ["broken.mp4", "broken.mp4", "two.mp4"] {
            assert_eq!(jobs.decoder_failed("cuda", source), None);
        }
        assert!(jobs.decoder_failed("cuda", "three.mp4").is_some_and(|said| said.contains("for 10 minutes")));
        // Films that it decodes speak for it.
        jobs.decoder_worked("cuda");
        for source in ["broken.mp4", "two.mp4", "two.mp4"] {
            assert_eq!(jobs.decoder_failed("cuda", source), None);
        }
    }

    #[test]
    fn the_engines_words_for_a_failover_are_understood() {
        let of = |text: &str| failed_over(text);
        assert_eq!(of("video: nvenc failed (encode: device lost (7)); libx264 goes on"), Some("nvenc"));
        assert_eq!(
            of(
                "outputs[0].video: nvenc failed (x); libx264 goes on without options; 3 frames were lost with it"
            ),
            Some("nvenc")
        );
        assert_eq!(of("video: nvenc failed (x); h264_vaapi goes on"), Some("nvenc"));
        assert_eq!(of("video: nvenc failed (x); nvenc on cuda:1 goes on"), None);
        assert_eq!(of("video: nvenc has no room (nvenc: too many sessions); libx264 goes on"), None);
        assert_eq!(of("stream 0: cuda cannot decode here (no); decoding in software"), None);
        assert_eq!(of("the disk failed (x); libx264 goes on"), None);
    }
}
