//! What follows from a snapshot: [`decide`] is a pure function of the machine, the settings, what was decided before
//! and the snapshot.
//!
//! One number, the *pressure* from 0 to 3, goes up by one when the machine struggles for a while and down by one when it
//! has been calm for longer. It goes up at most every [`UP_EVERY`] and down at most every [`DOWN_EVERY`], and the
//! thresholds of "struggles" and "calm" are apart, so that no load makes it flap.

use super::{Hardware, Power, Snapshot, Tier, TierLimits, Trend};
use std::collections::VecDeque;
use std::time::Duration;

/// How long it has to struggle before the pressure goes up.
const STRUGGLE_FOR: Duration = Duration::from_secs(4);
/// The least time between two steps up.
const UP_EVERY: Duration = Duration::from_secs(10);
/// How long it has to be calm before the pressure goes down, and the least time after any other step.
const DOWN_EVERY: Duration = Duration::from_secs(30);
/// The seed's thermal limit, °C, and the temperature at which it is over.
const HOT: f64 = 80.0;
const COOL: f64 = 72.0;
/// From here on the pressure is at its highest at once, °C.
const CRITICAL: f64 = 92.0;
/// A job that somebody watches must be faster than he watches, with a margin for the next scene.
const TOO_SLOW: f64 = 1.05;
const FAST_ENOUGH: f64 = 1.4;
/// The highest pressure.
const HIGHEST: u8 = 3;
/// Load factors that the trend is made of.
const WINDOW: usize = 10;

/// What the operator set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Jobs at once at most; 0 lets the tier decide.
    pub max_jobs: u32,
    /// The tier that the operator says it is; `None`: what its hardware makes it.
    pub tier: Option<Tier>,
    /// Nothing is saved, whatever the machine's state.
    pub unyielding: bool,
}

/// What earlier decisions left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    pressure: u8,
    changed: Option<Duration>,
    struggling_since: Option<Duration>,
    calm_since: Option<Duration>,
    loads: VecDeque<f64>,
}

/// What holds until the next snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The tier that counts now.
    pub tier: Tier,
    /// What it may be asked for now.
    pub limits: TierLimits,
    /// Jobs that may run at once; never 0. Those that run go on when it falls.
    pub max_jobs: u32,
    /// What bit rates are multiplied with, 0.4 to 1.
    pub quality_factor: f64,
    /// [`Snapshot::load_factor`].
    pub load_factor: f64,
    /// [`Snapshot::is_overloaded`].
    pub is_overloaded: bool,
    /// Where the load factor is going.
    pub trend: Trend,
    /// 0 to 3.
    pub pressure: u8,
    /// Steps by which encoders get faster presets.
    pub faster: u8,
    /// Whether ladders go without their top rung.
    pub drop_top: bool,
    /// Why it is not as the hardware alone would have it, one sentence each.
    pub reasons: Vec<String>,
}

/// Decides. `before` comes from the decision before, or is the default.
pub fn decide(hardware: &Hardware, settings: &Settings, before: &State, now: &Snapshot) -> (State, Decision) {
    let mut state = before.clone();
    let mut reasons = Vec::new();
    let struggle = struggles(now);
    if settings.unyielding {
        state = State { loads: state.loads, ..State::default() };
    } else {
        press(&mut state, now, struggle.is_some());
    }
    if state.pressure > 0 {
        let why = struggle.unwrap_or_else(|| "recovering".into());
        reasons.push(format!("pressure {} of {HIGHEST}: {why}", state.pressure));
    }

    let mut tier = settings.tier.unwrap_or_else(|| Tier::of(hardware));
    let battery = now.power == Power::Battery && !settings.unyielding;
    if battery {
        tier = tier.lower();
        reasons.push("on battery: one tier lower, one job".into());
    }
    let limits = tier.limits(hardware.laptop);
    let allowed = if settings.max_jobs > 0 { settings.max_jobs } else { limits.jobs };
    let max_jobs = match state.pressure {
        _ if battery => 1,
        0 => allowed,
        1 => allowed.saturating_sub(1),
        2 => allowed / 2,
        _ => 1,
    };
    let quality: f64 = [1.0, 0.8, 0.6, 0.4][usize::from(state.pressure.min(HIGHEST))];
    let load_factor = now.load_factor();
    state.loads.push_back(load_factor);
    while state.loads.len() > WINDOW {
        state.loads.pop_front();
    }
    let decision = Decision {
        tier,
        limits,
        max_jobs: max_jobs.max(1),
        quality_factor: if battery { quality.min(0.75) } else { quality },
        load_factor,
        is_overloaded: now.is_overloaded(),
        trend: trend(&state.loads),
        pressure: state.pressure,
        faster: state.pressure.min(2),
        drop_top: state.pressure >= 2,
        reasons,
    };
    (state, decision)
}

/// Moves the pressure.
fn press(state: &mut State, now: &Snapshot, struggling: bool) {
    let since = |from: Option<Duration>| from.map(|t| now.at.saturating_sub(t));
    state.struggling_since = struggling.then(|| state.struggling_since.unwrap_or(now.at));
    state.calm_since = is_calm(now).then(|| state.calm_since.unwrap_or(now.at));
    let rested = |least: Duration| since(state.changed).is_none_or(|t| t >= least);

    if now.temperature_c().is_some_and(|t| t >= CRITICAL) {
        if state.pressure < HIGHEST {
            (state.pressure, state.changed) = (HIGHEST, Some(now.at));
        }
    } else if state.pressure < HIGHEST
        && since(state.struggling_since).is_some_and(|t| t >= STRUGGLE_FOR)
        && rested(UP_EVERY)
    {
        (state.pressure, state.changed) = (state.pressure + 1, Some(now.at));
    } else if state.pressure > 0
        && since(state.calm_since).is_some_and(|t| t >= DOWN_EVERY)
        && rested(DOWN_EVERY)
    {
        (state.pressure, state.changed) = (state.pressure - 1, Some(now.at));
    }
}

/// What the machine struggles with, if it does.
fn struggles(now: &Snapshot) -> Option<String> {
    if let Some(t) = now.temperature_c().filter(|t| *t >= HOT) {
        return Some(format!("{t:.0} °C, the limit is {HOT:.0} °C"));
    }
    if now.memory_percent > 85.0 {
        return Some(format!("{:.0} % of memory in use", now.memory_percent));
    }
    if let Some(p) = now.gpu.and_then(|g| g.memory_percent).filter(|p| *p > 95.0) {
        return Some(format!("{p:.0} % of the GPU's memory in use"));
    }
    if let Some(speed) = now.jobs.slowest_speed.filter(|s| *s < TOO_SLOW) {
        return Some(format!("a watched job is made at {speed:.2} times its speed"));
    }
    // A busy CPU is what a transcoder is for. Without jobs of ours it is someone else's, and a reason to be careful.
    if now.jobs.active == 0 && now.cpu_percent > 90.0 {
        return Some(format!("other programs use {:.0} % of the CPU", now.cpu_percent));
    }
    None
}

/// Whether nothing is near a threshold.
fn is_calm(now: &Snapshot) -> bool {
    now.temperature_c().is_none_or(|t| t < COOL)
        && now.memory_percent < 78.0
        && now.gpu.and_then(|g| g.memory_percent).is_none_or(|p| p < 90.0)
        && now.jobs.slowest_speed.is_none_or(|s| s > FAST_ENOUGH)
        && (now.jobs.active > 0 || now.cpu_percent < 75.0)
}

/// Compares the newer half of the window with the older one.
fn trend(loads: &VecDeque<f64>) -> Trend {
    if loads.len() < WINDOW {
        return Trend::Stable;
    }
    let half = WINDOW / 2;
    let mean = |range: std::ops::Range<usize>| loads.range(range).sum::<f64>() / half as f64;
    match mean(half..WINDOW) - mean(0..half) {
        d if d > 0.05 => Trend::Increasing,
        d if d < -0.05 => Trend::Decreasing,
        _ => Trend::Stable,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{GpuLoad, JobsLoad};
    use super::*;

    fn desktop() -> Hardware {
        Hardware {
            encoder: Some("h264_nvenc".into()),
            gpu_memory_mb: Some(12_000),
            cpu_threads: 16,
            cpu_mhz: 4000,
            ..Hardware::default()
        }
    }

    /// Runs a trace of one snapshot a second and returns the decisions.
    fn run(hardware: &Hardware, settings: &Settings, trace: impl Iterator<Item = Snapshot>) -> Vec<Decision> {
        let mut state = State::default();
        trace
            .enumerate()
            .map(|(i, snapshot)| {
                let at = Duration::from_secs(i as u64);
                let (next, decision) = decide(hardware, settings, &state, &Snapshot { at, ..snapshot });
                state = next;
                decision
            })
            .collect()
    }

    fn at_temperature(celsius: f64) -> Snapshot {
        let gpu = Some(GpuLoad { temperature_c: Some(celsius), percent: Some(60.0), ..GpuLoad::default() });
        Snapshot { gpu, cpu_percent: 30.0, ..Snapshot::default() }
    }

    #[test]
    fn an_operator_may_have_nothing_saved() {
        let unyielding = Settings { unyielding: true, ..Settings::default() };
        let hot = || (0..60).map(|_| Snapshot { power: Power::Battery, ..at_temperature(95.0) });
        let saved = run(&desktop(), &Settings::default(), hot());
        assert_eq!((saved[59].pressure, saved[59].max_jobs), (3, 1));
        for decision in run(&desktop(), &unyielding, hot()) {
            assert_eq!((decision.pressure, decision.max_jobs, decision.quality_factor), (0, 4, 1.0));
            assert!(decision.reasons.is_empty(), "{:?}", decision.reasons);
        }
    }

    fn changes(decisions: &[Decision]) -> usize {
        decisions.windows(2).filter(|pair| pair[0].pressure != pair[1].pressure).count()
    }

    #[test]
    fn heat_brings_the_load_down_and_coolness_lets_it_up_again() {
        let trace = (0..30).map(|_| at_temperature(70.0));
        let trace =
            trace.chain((0..60).map(|_| at_temperature(83.0))).chain((0..200).map(|_| at_temperature(65.0)));
        let decisions = run(&desktop(), &Settings::default(), trace);
        assert_eq!((decisions[29].pressure, decisions[29].max_jobs), (0, 4));
        assert_eq!(decisions[33].pressure, 0, "a moment's heat changes nothing");
        assert_eq!(decisions[34].pressure, 1);
        assert!(decisions[34].reasons[0].contains("83 °C"), "{:?}", decisions[34].reasons);
        assert_eq!(
            (decisions[89].pressure, decisions[89].max_jobs, decisions[89].quality_factor),
            (3, 1, 0.4)
        );
        assert_eq!(decisions[289].pressure, 0, "three steps of 30 s");
    }

    #[test]
    fn a_temperature_at_the_limit_does_not_flap() {
        let trace = (0..3600).map(|i| at_temperature(if i % 7 < 4 { 81.0 } else { 76.0 }));
        assert!(changes(&run(&desktop(), &Settings::default(), trace)) <= 3);
    }

    #[test]
    fn a_critical_temperature_is_answered_at_once() {
        let decisions =
            run(&desktop(), &Settings::default(), [at_temperature(60.0), at_temperature(95.0)].into_iter());
        assert_eq!(decisions[1].pressure, 3);
    }

    #[test]
    fn a_full_cpu_is_no_reason_while_jobs_are_fast_enough() {
        let busy = |speed| Snapshot {
            cpu_percent: 100.0,
            jobs: JobsLoad { active: 2, slowest_speed: Some(speed) },
            ..Snapshot::default()
        };
        let fast = run(&desktop(), &Settings::default(), (0..120).map(|_| busy(2.0)));
        assert!(fast.iter().all(|d| d.pressure == 0 && d.is_overloaded));
        let slow = run(&desktop(), &Settings::default(), (0..20).map(|_| busy(0.8)));
        assert_eq!(slow[19].pressure, 2);
        assert_eq!((slow[19].quality_factor, slow[19].max_jobs), (0.6, 2));
    }

    #[test]
    fn a_battery_means_one_job_and_one_tier_less() {
        let snapshot = Snapshot { power: Power::Battery, ..Snapshot::default() };
        let decision =
            &run(&desktop(), &Settings { max_jobs: 4, ..Settings::default() }, [snapshot].into_iter())[0];
        assert_eq!((decision.tier, decision.max_jobs), (Tier::High, 1));
        assert!(decision.quality_factor < 1.0);
        let said = Settings { tier: Some(Tier::Low), ..Settings::default() };
        let decision = &run(&desktop(), &said, [Snapshot::default()].into_iter())[0];
        assert_eq!((decision.tier, decision.max_jobs), (Tier::Low, 1), "what the operator says");
    }

    #[test]
    fn pressure_makes_presets_faster_and_takes_the_top_rung() {
        let decisions = run(&desktop(), &Settings::default(), (0..60).map(|_| at_temperature(85.0)));
        let relief: Vec<(u8, u8, bool)> =
            decisions.iter().map(|d| (d.pressure, d.faster, d.drop_top)).collect();
        assert_eq!(relief[0], (0, 0, false));
        assert!(relief.contains(&(1, 1, false)) && relief.contains(&(2, 2, true)));
        assert_eq!(relief[59], (3, 2, true));
    }

    #[test]
    fn the_trend_follows_the_load() {
        let load = |cpu: f64| Snapshot {
            cpu_percent: cpu,
            jobs: JobsLoad { active: 1, slowest_speed: None },
            ..Snapshot::default()
        };
        let up = run(&desktop(), &Settings::default(), (0..20).map(|i| load(f64::from(i) * 5.0)));
        assert_eq!((up[3].trend, up[15].trend), (Trend::Stable, Trend::Increasing));
        let down = run(&desktop(), &Settings::default(), (0..20).map(|i| load(100.0 - f64::from(i) * 5.0)));
        assert_eq!(down[15].trend, Trend::Decreasing);
    }

    /// Numbers that look random and are the same in every run.
    struct Noise(u64);

    impl Noise {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as f64 / f64::from(1u32 << 31)
        }
    }

    #[test]
    fn whatever_comes_limits_are_kept_and_steps_are_rare() {
        for seed in 0..200 {
            let mut noise = Noise(seed);
            let hardware = Hardware {
                encoder: (noise.next() < 0.5).then(|| "vaapi".into()),
                gpu_memory_mb: (noise.next() < 0.5).then(|| (noise.next() * 20_000.0) as u64),
                cpu_threads: (noise.next() * 64.0) as u32,
                cpu_mhz: (noise.next() * 5000.0) as u32,
                laptop: noise.next() < 0.5,
                ..Hardware::default()
            };
            let tier = (noise.next() < 0.3).then_some(Tier::High);
            let settings = Settings { max_jobs: (noise.next() * 8.0) as u32, tier, unyielding: false };
            let own = tier.unwrap_or_else(|| Tier::of(&hardware));
            let trace: Vec<Snapshot> = (0..300)
                .map(|_| Snapshot {
                    cpu_percent: noise.next() * 100.0,
                    memory_percent: noise.next() * 100.0,
                    cpu_temperature_c: (noise.next() < 0.8).then(|| 40.0 + noise.next() * 50.0),
                    power: if noise.next() < 0.2 { Power::Battery } else { Power::Ac },
                    jobs: JobsLoad {
                        active: (noise.next() * 4.0) as u32,
                        slowest_speed: Some(noise.next() * 4.0),
                    },
                    ..Snapshot::default()
                })
                .collect();
            let decisions = run(&hardware, &settings, trace.into_iter());
            let most =
                if settings.max_jobs > 0 { settings.max_jobs } else { own.limits(hardware.laptop).jobs };
            for d in &decisions {
                assert!((1..=most).contains(&d.max_jobs) && d.tier <= own);
                assert!((0.4..=1.0).contains(&d.quality_factor) && (0.0..=1.0).contains(&d.load_factor));
                assert!(d.pressure <= 3 && (d.pressure == 0 || !d.reasons.is_empty()));
            }
            let steps: Vec<usize> = (1..decisions.len())
                .filter(|i| decisions[*i].pressure != decisions[i - 1].pressure)
                .collect();
            assert!(steps.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{steps:?}");
        }
    }
}
