//! The seed's five tiers of hardware and what each may be asked for.

use super::Hardware;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a machine is good for, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// A small CPU without an encoder in hardware.
    Minimal,
    /// An integrated GPU, or a usual desktop CPU.
    Low,
    /// 4 GB of GPU memory (GTX 1650), or a large CPU.
    Medium,
    /// 6 GB of GPU memory (RTX 3060).
    High,
    /// 8 GB of GPU memory (RTX 3080).
    Ultra,
}

/// What a tier may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierLimits {
    /// Width of the largest picture that a ladder offers, pixels.
    pub max_width: u32,
    /// Its height, pixels.
    pub max_height: u32,
    /// Bit rate of a ladder's top rung, bits per second.
    pub max_bitrate: u64,
    /// Jobs that run at once.
    pub jobs: u32,
    /// Renditions of a ladder.
    pub variants: u32,
}

impl Tier {
    /// All of them, worst first.
    pub const ALL: [Tier; 5] = [Tier::Minimal, Tier::Low, Tier::Medium, Tier::High, Tier::Ultra];

    /// The tier of a machine on its mains supply. Thresholds of GPU memory and of the CPU's score are the original
    /// server's; an encoder whose GPU does not say how much memory it has is an integrated one.
    pub fn of(hardware: &Hardware) -> Tier {
        let tier = match (&hardware.encoder, hardware.gpu_memory_mb) {
            (Some(_), Some(mb)) if mb >= 8000 => Tier::Ultra,
            (Some(_), Some(mb)) if mb >= 6000 => Tier::High,
            (Some(_), Some(mb)) if mb >= 4000 => Tier::Medium,
            (Some(_), Some(mb)) if mb < 2000 => Tier::Minimal,
            (Some(_), _) => Tier::Low,
            (None, _) => match cpu_score(hardware) {
                70.. => Tier::Medium,
                40..70 => Tier::Low,
                _ => Tier::Minimal,
            },
        };
        if hardware.laptop { tier.min(Tier::Medium) } else { tier }
    }

    /// The tier below, which a battery brings; the lowest stays.
    pub fn lower(self) -> Tier {
        let at = Tier::ALL.iter().position(|t| *t == self).unwrap_or(0);
        Tier::ALL[at.saturating_sub(1)]
    }

    /// What the tier may be asked for; a laptop gets two renditions at most.
    pub fn limits(self, laptop: bool) -> TierLimits {
        let (max_width, max_height, megabits, jobs, variants) = match self {
            Tier::Ultra => (3840, 2160, 25, 4, 4),
            Tier::High => (2560, 1440, 15, 3, 3),
            Tier::Medium => (1920, 1080, 8, 2, 2),
            Tier::Low => (1280, 720, 4, 1, 1),
            Tier::Minimal => (854, 480, 2, 1, 1),
        };
        TierLimits {
            max_width,
            max_height,
            max_bitrate: megabits * 1_000_000,
            jobs,
            variants: if laptop { variants.min(2) } else { variants },
        }
    }

    /// The word in configuration and answers.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Minimal => "minimal",
            Tier::Low => "low",
            Tier::Medium => "medium",
            Tier::High => "high",
            Tier::Ultra => "ultra",
        }
    }
}

/// Five points a thread up to 50, up to 25 for the clock (none at 2 GHz, all at 4 GHz), 15 off for a mobile CPU.
fn cpu_score(hardware: &Hardware) -> u32 {
    let threads = (hardware.cpu_threads * 5).min(50);
    let clock = (hardware.cpu_mhz.saturating_sub(2000) / 80).min(25);
    (threads + clock).saturating_sub(if hardware.laptop { 15 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desktop(threads: u32, mhz: u32) -> Hardware {
        Hardware { cpu_threads: threads, cpu_mhz: mhz, ..Hardware::default() }
    }

    fn with_gpu(mb: Option<u64>) -> Hardware {
        Hardware { encoder: Some("h264_nvenc".into()), gpu_memory_mb: mb, ..desktop(8, 3000) }
    }

    #[test]
    fn gpu_memory_decides_where_an_encoder_is() {
        let tiers = [
            (1024, Tier::Minimal),
            (2048, Tier::Low),
            (4096, Tier::Medium),
            (6144, Tier::High),
            (8192, Tier::Ultra),
        ];
        for (mb, tier) in tiers {
            assert_eq!(Tier::of(&with_gpu(Some(mb))), tier, "{mb} MB");
        }
        assert_eq!(Tier::of(&with_gpu(None)), Tier::Low);
    }

    #[test]
    fn the_cpu_decides_where_none_is() {
        assert_eq!(Tier::of(&desktop(2, 3000)), Tier::Minimal);
        assert_eq!(Tier::of(&desktop(8, 3600)), Tier::Low);
        assert_eq!(Tier::of(&desktop(32, 4200)), Tier::Medium);
        // Memory without an encoder is no help.
        assert_eq!(Tier::of(&Hardware { gpu_memory_mb: Some(24_000), ..desktop(2, 3000) }), Tier::Minimal);
    }

    #[test]
    fn a_laptop_is_medium_at_best_with_two_renditions() {
        let laptop = Hardware { laptop: true, ..with_gpu(Some(16_000)) };
        assert_eq!(Tier::of(&laptop), Tier::Medium);
        assert_eq!(Tier::Ultra.limits(true).variants, 2);
        assert_eq!(Tier::Minimal.lower(), Tier::Minimal);
        assert_eq!(Tier::Ultra.lower(), Tier::High);
    }

    #[test]
    fn a_better_tier_never_allows_less() {
        for pair in Tier::ALL.windows(2) {
            let (a, b) = (pair[0].limits(false), pair[1].limits(false));
            assert!(a.max_height < b.max_height && a.max_bitrate < b.max_bitrate);
            assert!(a.jobs <= b.jobs && a.variants <= b.variants);
        }
    }
}
