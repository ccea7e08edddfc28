//! What kind of machine this is.

use std::path::Path;

/// What does not change while the server runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// The GPU's name, where one encodes.
    pub gpu_name: Option<String>,
    /// Its memory, MB.
    pub gpu_memory_mb: Option<u64>,
    /// The best encoder in hardware that really works here.
    pub encoder: Option<String>,
    /// Hardware threads of the CPU that this process may use.
    pub cpu_threads: u32,
    /// The CPU's highest clock, MHz; 0 when the machine does not say.
    pub cpu_mhz: u32,
    /// Whether it is a laptop.
    pub laptop: bool,
}

impl Hardware {
    /// Reads CPU and kind of machine from the files below `root` (`/`).
    pub fn read(root: &Path) -> Hardware {
        Hardware {
            cpu_threads: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
            cpu_mhz: cpu_mhz(root),
            laptop: is_laptop(root),
            ..Hardware::default()
        }
    }
}

/// The first number in a file.
pub(super) fn number(path: &Path) -> Option<f64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

fn cpu_mhz(root: &Path) -> u32 {
    if let Some(khz) = number(&root.join("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")) {
        return (khz / 1000.0) as u32;
    }
    // A virtual machine says only how fast its CPUs are now.
    let info = std::fs::read_to_string(root.join("proc/cpuinfo")).unwrap_or_default();
    let clocks =
        info.lines().filter_map(|line| line.strip_prefix("cpu MHz")?.split(':').nth(1)?.trim().parse().ok());
    clocks.fold(0.0, f64::max) as u32
}

/// By SMBIOS's chassis type (System Management BIOS reference specification, table 17: portable, laptop, notebook,
/// sub notebook, tablet, convertible, detachable), or by a battery where there is none.
fn is_laptop(root: &Path) -> bool {
    match number(&root.join("sys/class/dmi/id/chassis_type")) {
        Some(kind) => matches!(kind as u32, 8 | 9 | 10 | 14 | 30 | 31 | 32),
        None => super::monitor::has_battery(root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    #[test]
    fn the_chassis_tells_a_laptop() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "sys/class/dmi/id/chassis_type", "10\n");
        assert!(Hardware::read(root.path()).laptop);
        write(root.path(), "sys/class/dmi/id/chassis_type", "3\n");
        assert!(!Hardware::read(root.path()).laptop);
    }

    #[test]
    fn a_battery_tells_a_laptop_that_has_no_smbios() {
        let root = tempfile::tempdir().expect("a folder");
        assert!(!Hardware::read(root.path()).laptop);
        write(root.path(), "sys/class/power_supply/BAT0/type", "Battery\n");
        assert!(Hardware::read(root.path()).laptop);
        // A mouse's battery is none.
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "sys/class/power_supply/hidpp_battery_0/type", "Battery\n");
        write(root.path(), "sys/class/power_supply/hidpp_battery_0/scope", "Device\n");
        assert!(!Hardware::read(root.path()).laptop);
    }

    #[test]
    fn the_highest_clock_counts() {
        let root = tempfile::tempdir().expect("a folder");
        write(root.path(), "proc/cpuinfo", "cpu MHz\t\t: 2400.0\n\ncpu MHz\t\t: 2600.5\n");
        assert_eq!(Hardware::read(root.path()).cpu_mhz, 2600);
        write(root.path(), "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "4700000\n");
        assert_eq!(Hardware::read(root.path()).cpu_mhz, 4700);
    }
}
