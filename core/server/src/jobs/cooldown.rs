//! Hardware encoders that keep failing are off for a while, for jobs and playback sessions alike. Not beyond a restart: that is
//! how a driver or a card is mended, and if it was not, three failures switch it off again.

use super::record::{accel_of, now};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Failures of an encoder that switch it off.
const FAILURES: u32 = 3;
/// How long it stays off at first, and at most, in seconds.
const OFF: (f64, f64) = (5.0 * 60.0, 60.0 * 60.0);

/// Hardware encoders that failed too often of late. Pure.
#[derive(Clone, Debug, Default)]
struct Cooldown {
    encoders: BTreeMap<String, Record>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Record {
    failures: u32,
    /// How often it was switched off without a success in between.
    times: u32,
    until: f64,
}

impl Cooldown {
    /// Notes a failure at `now` (seconds); gives for how long the encoder is off, if it now is.
    fn failed(&mut self, encoder: &str, now: f64) -> Option<f64> {
        let record = self.encoders.entry(encoder.into()).or_default();
        record.failures += 1;
        if record.failures < FAILURES {
            return None;
        }
        let off = (OFF.0 * f64::from(2_u32.saturating_pow(record.times.min(8)))).min(OFF.1);
        (record.failures, record.times, record.until) = (0, record.times + 1, now + off);
        Some(off)
    }

    /// Notes a success.
    fn worked(&mut self, encoder: &str) {
        self.encoders.remove(encoder);
    }

    /// Those that are off at `now`, with the seconds that are left.
    fn off(&self, now: f64) -> impl Iterator<Item = (&str, f64)> {
        let off = self.encoders.iter().filter(move |(_, r)| r.until > now);
        off.map(move |(name, r)| (name.as_str(), r.until - now))
    }
}

/// The cool-downs that all jobs and sessions of a server share; so do clones. Encoders have the contract's words (`nvenc` …).
#[derive(Clone, Debug, Default)]
pub struct Cooldowns(Arc<Mutex<Cooldown>>);

impl Cooldowns {
    fn lock(&self) -> MutexGuard<'_, Cooldown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure of `accel`; a sentence, if it is off from now on.
    pub fn failed(&self, accel: &str) -> Option<String> {
        let off = self.lock().failed(accel, now())?;
        let said = format!("{accel} keeps failing and is off for {:.0} minutes", off / 60.0);
        tracing::warn!(encoder = accel, "{said}");
        Some(said)
    }

    /// Notes a success of `accel`.
    pub fn worked(&self, accel: &str) {
        self.lock().worked(accel);
    }

    /// Why an encoder that is asked for by `accel` should not be used now: it is off, or `auto` would find one that is.
    pub fn against(&self, accel: &str) -> Option<String> {
        let cooldown = self.lock();
        let (name, left) = cooldown.off(now()).find(|(name, _)| accel == "auto" || *name == accel)?;
        Some(format!("{name} keeps failing and is off for another {:.0} minutes", (left / 60.0).ceil()))
    }

    /// Those that are off, with the seconds that are left.
    pub fn off(&self) -> BTreeMap<String, u64> {
        self.lock().off(now()).map(|(name, left)| (name.to_string(), left.ceil() as u64)).collect()
    }
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
