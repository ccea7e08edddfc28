//! Reads snapshots from the kernel's files, and a GPU's load from whoever knows it.

use super::hardware::number;
use super::{GpuLoad, JobsLoad, Power, Snapshot};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Who knows how a GPU is doing.
pub trait GpuSource: Send {
    /// The load now; `None` when the GPU does not answer. May block for some milliseconds.
    fn read(&mut self) -> Option<GpuLoad>;
}

/// Takes snapshots. One thread; a snapshot takes about a millisecond without a GPU.
pub struct Monitor {
    root: PathBuf,
    begun: Instant,
    cpu: Option<CpuTimes>,
    gpu: Option<Box<dyn GpuSource>>,
}

/// Ticks of all CPUs together since the machine began.
#[derive(Clone, Copy)]
struct CpuTimes {
    busy: u64,
    all: u64,
}

impl Monitor {
    /// Reads below `root` (`/`); GPUs whose driver has files there need no `gpu`.
    pub fn new(root: &Path, gpu: Option<Box<dyn GpuSource>>) -> Monitor {
        Monitor { root: root.into(), begun: Instant::now(), cpu: None, gpu }
    }

    /// The machine now. CPU use counts from the snapshot before; the first has none.
    pub fn snapshot(&mut self, jobs: JobsLoad) -> Snapshot {
        Snapshot {
            at: self.begun.elapsed(),
            cpu_percent: self.cpu_percent(),
            memory_percent: memory_percent(&self.root),
            cpu_temperature_c: cpu_temperature(&self.root),
            gpu: self.gpu.as_mut().and_then(|g| g.read()).or_else(|| amdgpu(&self.root)),
            power: power(&self.root),
            jobs,
        }
    }

    fn cpu_percent(&mut self) -> f64 {
        let Some(now) = cpu_times(&self.root) else { return 0.0 };
        let before = self.cpu.replace(now);
        let Some(before) = before else { return 0.0 };
        match now.all.saturating_sub(before.all) {
            0 => 0.0,
            all => (now.busy.saturating_sub(before.busy) as f64 / all as f64 * 100.0).min(100.0),
        }
    }
}

/// The first line of /proc/stat: user nice system idle iowait irq softirq steal (proc_stat(5)).
fn cpu_times(root: &Path) -> Option<CpuTimes> {
    let text = std::fs::read_to_string(root.join("proc/stat")).ok()?;
    let ticks: Vec<u64> = text
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_whitespace()
        .take(8)
        .filter_map(|t| t.parse().ok())
        .collect();
    let all = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
    Some(CpuTimes { busy: all - idle, all })
}

fn memory_percent(root: &Path) -> f64 {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
    let field = |name: &str| -> Option<f64> {
        text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    match (field("MemTotal:"), field("MemAvailable:")) {
        (Some(total), Some(available)) if total > 0.0 => (1.0 - available / total) * 100.0,
        _ => 0.0,
    }
}

/// Folders in a folder, in the order of their names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The hottest sensor of a CPU's driver (coretemp, k10temp, zenpower), or of the thermal zones of a CPU where none is.
fn cpu_temperature(root: &Path) -> Option<f64> {
    let mut found = None;
    for chip in entries(&root.join("sys/class/hwmon")) {
        if !matches!(text(&chip.join("name")).as_str(), "coretemp" | "k10temp" | "zenpower" | "cpu_thermal") {
            continue;
        }
        for sensor in entries(&chip) {
            let name = sensor.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.starts_with("temp") && name.ends_with("_input") {
                found = number(&sensor).map(|m| m / 1000.0).into_iter().chain(found).reduce(f64::max);
            }
        }
    }
    found.or_else(|| {
        let zones = entries(&root.join("sys/class/thermal")).into_iter().filter(|zone| {
            let kind = text(&zone.join("type"));
            kind.contains("cpu") || kind == "x86_pkg_temp"
        });
        zones.filter_map(|zone| Some(number(&zone.join("temp"))? / 1000.0)).reduce(f64::max)
    })
}

/// AMD's driver tells everything in files.
fn amdgpu(root: &Path) -> Option<GpuLoad> {
    for card in entries(&root.join("sys/class/drm")) {
        let device = card.join("device");
        let Some(percent) = number(&device.join("gpu_busy_percent")) else { continue };
        let memory =
            number(&device.join("mem_info_vram_used")).zip(number(&device.join("mem_info_vram_total")));
        let sensors = entries(&device.join("hwmon")).into_iter().next();
        let sensor = |name: &str| sensors.as_ref().and_then(|s| number(&s.join(name)));
        return Some(GpuLoad {
            percent: Some(percent),
            encoder_percent: None,
            memory_percent: memory.filter(|(_, all)| *all > 0.0).map(|(used, all)| used / all * 100.0),
            temperature_c: sensor("temp1_input").map(|m| m / 1000.0),
            power_w: sensor("power1_average").map(|microwatts| microwatts / 1e6),
        });
    }
    None
}

/// The machine's own supplies: those of a mouse or a headset have the scope `Device`.
fn supplies(root: &Path) -> impl Iterator<Item = PathBuf> {
    let all = entries(&root.join("sys/class/power_supply")).into_iter();
    all.filter(|s| text(&s.join("scope")) != "Device")
}

pub(super) fn has_battery(root: &Path) -> bool {
    supplies(root).any(|s| text(&s.join("type")) == "Battery")
}

/// Battery only where one is being emptied and no mains supply is connected.
fn power(root: &Path) -> Power {
    let mains = supplies(root).any(|s| {
        matches!(text(&s.join("type")).as_str(), "Mains" | "USB") && number(&s.join("online")) == Some(1.0)
    });
    let emptied = supplies(root)
        .any(|s| text(&s.join("type")) == "Battery" && text(&s.join("status")) == "Discharging");
    if emptied && !mains { Power::Battery } else { Power::Ac }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new(files: &[(&str, &str)]) -> Files {
            let files_ = Files(tempfile::tempdir().expect("a folder"));
            files.iter().for_each(|(path, text)| files_.write(path, text));
            files_
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }

        fn monitor(&self) -> Monitor {
            Monitor::new(self.0.path(), None)
        }
    }

    #[test]
    fn cpu_use_is_that_between_two_snapshots() {
        let files = Files::new(&[("proc/stat", "cpu  100 0 100 700 100 0 0 0 0 0\n")]);
        let mut monitor = files.monitor();
        assert_eq!(monitor.snapshot(JobsLoad::default()).cpu_percent, 0.0);
        files.write("proc/stat", "cpu  160 0 115 720 105 0 0 0 0 0\n");
        assert!((monitor.snapshot(JobsLoad::default()).cpu_percent - 75.0).abs() < 1e-9);
    }

    #[test]
    fn memory_that_can_be_had_is_not_in_use() {
        let files =
            Files::new(&[("proc/meminfo", "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable:  250 kB\n")]);
        assert!((files.monitor().snapshot(JobsLoad::default()).memory_percent - 75.0).abs() < 1e-9);
    }

    #[test]
    fn the_hottest_core_counts_and_a_disk_does_not() {
        let files = Files::new(&[
            ("sys/class/hwmon/hwmon0/name", "nvme\n"),
            ("sys/class/hwmon/hwmon0/temp1_input", "90000\n"),
            ("sys/class/hwmon/hwmon1/name", "coretemp\n"),
            ("sys/class/hwmon/hwmon1/temp1_input", "61000\n"),
            ("sys/class/hwmon/hwmon1/temp2_input", "66000\n"),
        ]);
        assert_eq!(files.monitor().snapshot(JobsLoad::default()).cpu_temperature_c, Some(66.0));
    }

    #[test]
    fn an_amd_card_is_read_from_its_files() {
        let device = "sys/class/drm/card0/device";
        let files = Files::new(&[]);
        for (name, value) in [
            ("gpu_busy_percent", "42"),
            ("mem_info_vram_used", "2000"),
            ("mem_info_vram_total", "8000"),
            ("hwmon/hwmon3/temp1_input", "71000"),
            ("hwmon/hwmon3/power1_average", "95000000"),
        ] {
            files.write(&format!("{device}/{name}"), value);
        }
        let gpu = files.monitor().snapshot(JobsLoad::default()).gpu.expect("a card");
        assert_eq!((gpu.percent, gpu.memory_percent), (Some(42.0), Some(25.0)));
        assert_eq!((gpu.temperature_c, gpu.power_w), (Some(71.0), Some(95.0)));
    }

    #[test]
    fn a_battery_that_is_emptied_is_the_supply_unless_the_mains_is_on() {
        let files = Files::new(&[
            ("sys/class/power_supply/BAT0/type", "Battery"),
            ("sys/class/power_supply/BAT0/status", "Discharging"),
            ("sys/class/power_supply/AC/type", "Mains"),
            ("sys/class/power_supply/AC/online", "0"),
        ]);
        assert_eq!(files.monitor().snapshot(JobsLoad::default()).power, Power::Battery);
        files.write("sys/class/power_supply/AC/online", "1");
        assert_eq!(files.monitor().snapshot(JobsLoad::default()).power, Power::Ac);
        assert_eq!(Files::new(&[]).monitor().snapshot(JobsLoad::default()).power, Power::Ac);
    }

    #[test]
    fn this_machine_answers() {
        let mut monitor = Monitor::new(Path::new("/"), None);
        monitor.snapshot(JobsLoad::default());
        let snapshot = monitor.snapshot(JobsLoad::default());
        assert!((0.0..=100.0).contains(&snapshot.cpu_percent));
        assert!(snapshot.memory_percent > 0.0 && snapshot.memory_percent < 100.0);
    }
}
