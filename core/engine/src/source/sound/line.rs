//! One unbroken line of samples out of runs that come when they come. Pure: time is a sample's number.

use std::collections::VecDeque;

/// The parts of a second beyond which a step is a hole or a repetition, and no drift.
const HOLE: i64 = 16;
/// A hole of more than this part of a second is believed at once, a smaller one when it stays.
const CERTAIN: i64 = 2;
/// The part of a second in which every run is late before it is believed that something is missing.
const WINDOW: i64 = 2;
/// Drift of less than this part of a second is left alone.
const LEFT_ALONE: i64 = 100;
/// The part of a second of runs after which a beginning is believed: the time of one alone may be late.
const BEGINNING: i64 = 10;
/// How much faster or slower samples are taken at most while a drift is made good.
const SLEW: f64 = 0.002;

/// Samples by their numbers. Those that never came are silence.
pub(super) struct Line {
    rate: i64,
    channels: usize,
    samples: VecDeque<f32>,
    /// Number of the first sample in the queue: what is before it was taken.
    head: i64,
    /// Whether the next run goes on where the queue ends.
    running: bool,
    /// The least lateness of the runs of this window, and how many samples the window has.
    least: Option<i64>,
    seen: i64,
    /// What is still to be made good: samples that there are too many (above 0) or too few.
    debt: f64,
    resampler: Resampler,
    /// Runs whose place is not decided yet, and what each of them says for the number of the first sample.
    beginning: Vec<f32>,
    begins: Vec<i64>,
}

impl Line {
    pub fn new(rate: u32, channels: usize) -> Line {
        Line {
            rate: i64::from(rate),
            channels,
            samples: VecDeque::new(),
            head: 0,
            running: false,
            least: None,
            seen: 0,
            debt: 0.0,
            resampler: Resampler::new(channels),
            beginning: Vec::new(),
            begins: Vec::new(),
        }
    }

    /// Number of the sample behind the last one that is here.
    pub fn end(&self) -> i64 {
        self.head + (self.samples.len() / self.channels) as i64
    }

    /// Adds a run whose first sample has about the number `at`, as the clock says.
    pub fn push(&mut self, run: &[f32], at: i64) {
        let count = (run.len() / self.channels) as i64;
        if count == 0 {
            return;
        }
        if !self.beginning.is_empty() {
            let so_far = (self.beginning.len() / self.channels) as i64;
            if self.begins.iter().all(|begin| (at - begin - so_far).abs() <= self.rate / HOLE) {
                self.begins.push(at - so_far);
                self.beginning.extend(run);
                if so_far + count >= self.rate / BEGINNING {
                    self.place();
                }
                return;
            }
            self.place();
        }
        let step = at - self.end();
        let jumps = !self.running || step < -self.rate / HOLE || step > self.rate / CERTAIN;
        if jumps {
            self.begins = vec![at];
            return self.beginning.extend(run);
        }
        let least = self.least.map_or(step, |least| least.min(step));
        self.least = Some(least);
        self.seen += count;
        if self.seen >= self.rate / WINDOW {
            (self.seen, self.least) = (0, None);
            if least > self.rate / HOLE {
                // Something was lost in between.
                return self.anchor(run, self.end() + least);
            }
            if least.abs() > self.rate / LEFT_ALONE {
                self.debt = -(least as f64);
            }
        }
        self.add(run);
    }

    /// Decides where what began is.
    fn place(&mut self) {
        let run = std::mem::take(&mut self.beginning);
        // Times shake to the late side, so an early one is right; but PipeWire often loses a run behind the first.
        self.begins.sort_unstable();
        let begin = self.begins.get(self.begins.len() / 4).copied().unwrap_or(0);
        self.anchor(&run, begin);
    }

    /// Begins anew at `at`: silence before it, or without what was taken already.
    fn anchor(&mut self, run: &[f32], at: i64) {
        let (count, step) = ((run.len() / self.channels) as i64, at - self.end());
        (self.least, self.seen, self.debt) = (None, 0, 0.0);
        self.resampler = Resampler::new(self.channels);
        if step >= 0 {
            // A hole of hours would be that much silence at once; it is not waited for by anybody.
            let missing = usize::try_from(step.min(self.rate * 60)).unwrap_or(0);
            self.samples.extend(std::iter::repeat_n(0.0, missing * self.channels));
            self.running = true;
            return self.samples.extend(run);
        }
        if at + count <= self.head {
            self.running = false;
            return;
        }
        // What it overlaps is replaced.
        let keep = usize::try_from((at - self.head).max(0)).unwrap_or(0) * self.channels;
        let skip = usize::try_from((self.head - at).max(0)).unwrap_or(0) * self.channels;
        self.samples.truncate(keep);
        self.samples.extend(run.get(skip..).unwrap_or_default());
        self.running = true;
    }

    fn add(&mut self, run: &[f32]) {
        if self.debt == 0.0 && self.resampler.is_straight() {
            return self.samples.extend(run);
        }
        let before = self.samples.len();
        // More than one: samples are passed over; less: made.
        let speed = if self.debt == 0.0 { SLEW } else { self.debt.signum() * SLEW };
        let due = if self.debt == 0.0 { 0.0 } else { self.debt };
        let done = self.resampler.push(run, speed, due, &mut self.samples);
        debug_assert!(self.samples.len() >= before);
        self.debt = if done >= self.debt.abs() { 0.0 } else { self.debt - done * self.debt.signum() };
    }

    /// Takes `count` samples off the front, with silence for those that are not here.
    pub fn take(&mut self, count: usize, out: &mut [f32], gain: f32) {
        let wanted = count * self.channels;
        if self.samples.len() < wanted && !self.beginning.is_empty() {
            self.place();
        }
        let have = wanted.min(self.samples.len());
        for (to, from) in out.iter_mut().zip(self.samples.drain(..have)) {
            *to += from * gain;
        }
        self.head += count as i64;
        if have < wanted {
            self.running = false;
        }
    }
}

/// Samples at a slightly other speed: a cubic through four of them. Between corrections they pass as they are.
struct Resampler {
    channels: usize,
    /// The last samples of what was pushed before: three of each channel, once there were some.
    tail: Vec<f32>,
    /// Where between two samples the next one is, 0 to 1.
    phase: f64,
}

impl Resampler {
    fn new(channels: usize) -> Resampler {
        Resampler { channels, tail: Vec::new(), phase: 0.0 }
    }

    /// Whether samples pass as they are.
    fn is_straight(&self) -> bool {
        self.tail.is_empty()
    }

    /// Adds `run` at `1 + speed`, until `due` samples are made good and the phase is back at a sample. Tells how many were.
    fn push(&mut self, run: &[f32], speed: f64, due: f64, out: &mut VecDeque<f32>) -> f64 {
        let channels = self.channels;
        let first = self.tail.is_empty();
        let mut samples = std::mem::take(&mut self.tail);
        if first {
            // The first of each channel stands for those before it.
            samples.extend_from_slice(&run[..channels]);
        }
        samples.extend_from_slice(run);
        let count = samples.len() / channels;
        let mut done = 0.0;
        let mut at = 1;
        while at + 2 < count {
            for c in 0..channels {
                let sample = |i: usize| f64::from(samples[i * channels + c]);
                out.push_back(
                    cubic(sample(at - 1), sample(at), sample(at + 1), sample(at + 2), self.phase) as f32
                );
            }
            let before = self.phase;
            self.phase += speed;
            done += speed.abs();
            at += 1;
            if self.phase >= 1.0 {
                (self.phase, at) = (self.phase - 1.0, at + 1);
            } else if self.phase < 0.0 {
                (self.phase, at) = (self.phase + 1.0, at - 1);
            }
            let wrapped = (self.phase - before).abs() > 0.5;
            if wrapped && done + 0.5 >= due.abs() {
                // Back at a sample, near enough: the rest passes as it is.
                self.phase = 0.0;
                out.extend(&samples[at.min(count) * channels..]);
                return due.abs().max(done);
            }
        }
        self.tail = samples[(at - 1).min(count) * channels..].to_vec();
        done
    }
}

/// Between `b` and `c`.
fn cubic(a: f64, b: f64, c: f64, d: f64, at: f64) -> f64 {
    let slope = (c - a) * 0.5;
    let third = a - 2.5 * b + 2.0 * c - 0.5 * d;
    let fourth = (d - a) * 0.5 + (b - c) * 1.5;
    ((fourth * at + third) * at + slope) * at + b
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;

    fn tone(from: i64, count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| ((from + i as i64) as f64 * std::f64::consts::TAU / 48.0).sin() as f32 * 0.5)
            .collect()
    }

    fn taken(line: &mut Line, count: usize) -> Vec<f32> {
        let mut out = vec![0.0; count];
        line.take(count, &mut out, 1.0);
        out
    }

    #[test]
    fn runs_that_follow_pass_as_they_are() {
        let mut line = Line::new(RATE, 1);
        // Times that shake by some milliseconds change nothing.
        for (i, late) in [0, 90, 20, 130, 0, 60].into_iter().enumerate() {
            let at = i as i64 * 1024;
            line.push(&tone(at, 1024), at + late);
        }
        assert_eq!(taken(&mut line, 6 * 1024), tone(0, 6 * 1024));
    }

    #[test]
    fn what_is_missing_is_silence() {
        let mut line = Line::new(RATE, 1);
        line.push(&tone(0, 960), 100);
        let got = taken(&mut line, 1200);
        assert_eq!(
            (&got[..100], &got[100..1060], &got[1060..]),
            (&[0.0; 100][..], &tone(0, 960)[..], &[0.0; 140][..])
        );
        // It comes back after two seconds, from what was before and after the place of it.
        line.push(&tone(0, 960), 800);
        let got = taken(&mut line, 2000);
        assert_eq!((&got[..560], &got[560..]), (&tone(400, 560)[..], &[0.0; 1440][..]));
        line.push(&tone(0, 960), 6000);
        let got = taken(&mut line, 4000);
        assert_eq!((&got[..2800], &got[2800..3760]), (&[0.0; 2800][..], &tone(0, 960)[..]));
    }

    #[test]
    fn a_lost_run_leaves_a_hole() {
        let mut line = Line::new(RATE, 1);
        for i in 0..200 {
            // A tenth of a second is lost behind the fiftieth run.
            line.push(&tone(i * 480, 480), i * 480 + if i < 50 { 0 } else { 4800 });
        }
        assert_eq!(line.end(), 200 * 480 + 4800);
    }

    #[test]
    fn a_pause_drops_what_was_said_in_it() {
        let mut line = Line::new(RATE, 1);
        line.push(&tone(0, 4800), 0);
        assert_eq!(taken(&mut line, 4800).len(), 4800);
        // The job stood still: what was recorded meanwhile has times that are over.
        for at in [-9600, -4800] {
            line.push(&tone(0, 4800), at);
        }
        line.push(&tone(0, 4800), 4800);
        assert_eq!(taken(&mut line, 4800), tone(0, 4800));
    }

    #[test]
    fn a_drift_is_made_good() {
        // The device gives 48012 samples in a second of the clock, for two minutes.
        for (rate, sign) in [(48_012, 1), (47_988, -1)] {
            let mut line = Line::new(RATE, 1);
            let (mut total, mut got) = (0i64, Vec::new());
            while total < rate * 120 {
                line.push(&tone(total, 480), (total as f64 * 48_000.0 / rate as f64).round() as i64);
                total += 480;
                let ready = usize::try_from(line.end()).unwrap() - got.len();
                got.extend(taken(&mut line, ready.saturating_sub(96)));
            }
            let error = line.end() - 48_000 * 120;
            assert!(error.abs() < 480, "{error} samples of {sign}");
            // It is still the tone: no clicks.
            let steepest = got.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
            assert!(steepest < 0.5 * 0.1320, "a step of {steepest}");
        }
    }
}
