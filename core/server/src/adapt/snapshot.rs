//! How a machine is doing at one moment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Everything a decision is made from. Percentages are 0 to 100; what the machine does not tell is `None` and decides
/// nothing. Serializes, so that a trace can be recorded and decided again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// When, on the monitor's monotonic clock.
    pub at: Duration,
    /// Share of all CPUs in use.
    pub cpu_percent: f64,
    /// Share of memory that programs cannot get.
    pub memory_percent: f64,
    /// The hottest sensor of the CPU.
    pub cpu_temperature_c: Option<f64>,
    /// The GPU that encodes.
    pub gpu: Option<GpuLoad>,
    /// What feeds the machine.
    pub power: Power,
    /// What our own jobs are doing.
    pub jobs: JobsLoad,
}

/// How a GPU is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuLoad {
    /// Share of time in which a kernel ran.
    pub percent: Option<f64>,
    /// Share of time in which its encoders were busy.
    pub encoder_percent: Option<f64>,
    /// Share of its memory in use.
    pub memory_percent: Option<f64>,
    /// Degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Watts.
    pub power_w: Option<f64>,
}

/// What feeds the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// The mains, or a machine without a battery.
    #[default]
    Ac,
    /// A battery that is being emptied.
    Battery,
}

/// What our own jobs are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobsLoad {
    /// Jobs that encode just now.
    pub active: u32,
    /// Speed of the slowest one that somebody waits for, as media time over wall time.
    pub slowest_speed: Option<f64>,
}

/// Where the load is going.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// Neither up nor down.
    #[default]
    Stable,
    /// Up.
    Increasing,
    /// Down.
    Decreasing,
}

impl Snapshot {
    /// The hottest sensor.
    pub fn temperature_c(&self) -> Option<f64> {
        let gpu = self.gpu.and_then(|g| g.temperature_c);
        self.cpu_temperature_c.into_iter().chain(gpu).reduce(f64::max)
    }

    /// The load as one number from 0 to 1, by the seed's formula: 0.3 CPU + 0.2 memory + 0.4 GPU + 0.1 temperature
    /// (0 at 60 °C, 1 at 90 °C). What is not known gives its weight to the rest.
    pub fn load_factor(&self) -> f64 {
        let gpu = self.gpu.and_then(|g| g.percent.into_iter().chain(g.encoder_percent).reduce(f64::max));
        let parts = [
            (0.3, Some(self.cpu_percent / 100.0)),
            (0.2, Some(self.memory_percent / 100.0)),
            (0.4, gpu.map(|p| p / 100.0)),
            (0.1, self.temperature_c().map(|t| (t - 60.0) / 30.0)),
        ];
        let known = parts.iter().filter_map(|(weight, part)| Some((weight, (*part)?.clamp(0.0, 1.0))));
        let (sum, weights) = known.fold((0.0, 0.0), |(sum, all), (w, part)| (sum + w * part, all + w));
        sum / weights
    }

    /// The seed's word for it: CPU above 90 %, memory above 85 %, GPU above 95 % or hotter than 85 °C. This is what is
    /// shown; a transcoder that uses the whole CPU and is still fast enough is no reason to do anything.
    pub fn is_overloaded(&self) -> bool {
        self.cpu_percent > 90.0
            || self.memory_percent > 85.0
            || self.gpu.and_then(|g| g.percent).is_some_and(|p| p > 95.0)
            || self.temperature_c().is_some_and(|t| t > 85.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_factor_is_the_seeds() {
        let all = Snapshot {
            cpu_percent: 50.0,
            memory_percent: 40.0,
            gpu: Some(GpuLoad { percent: Some(80.0), temperature_c: Some(75.0), ..GpuLoad::default() }),
            ..Snapshot::default()
        };
        assert!((all.load_factor() - (0.15 + 0.08 + 0.32 + 0.05)).abs() < 1e-9);
        // Without a GPU, CPU and memory share what is left.
        let cpu = Snapshot { gpu: None, ..all };
        assert!((cpu.load_factor() - (0.15 + 0.08) / 0.5).abs() < 1e-9);
    }

    #[test]
    fn the_load_factor_stays_between_0_and_1() {
        let hot = Snapshot {
            cpu_percent: 400.0,
            memory_percent: 100.0,
            cpu_temperature_c: Some(120.0),
            ..Snapshot::default()
        };
        assert!((hot.load_factor() - 1.0).abs() < 1e-9);
        assert!(Snapshot { cpu_temperature_c: Some(20.0), ..Snapshot::default() }.load_factor().abs() < 1e-9);
    }

    #[test]
    fn each_threshold_overloads() {
        assert!(!Snapshot { cpu_percent: 90.0, memory_percent: 85.0, ..Snapshot::default() }.is_overloaded());
        assert!(Snapshot { cpu_percent: 90.1, ..Snapshot::default() }.is_overloaded());
        assert!(Snapshot { memory_percent: 85.1, ..Snapshot::default() }.is_overloaded());
        assert!(Snapshot { cpu_temperature_c: Some(85.1), ..Snapshot::default() }.is_overloaded());
        let gpu = Some(GpuLoad { percent: Some(95.1), ..GpuLoad::default() });
        assert!(Snapshot { gpu, ..Snapshot::default() }.is_overloaded());
    }
}
