//! The ten presets, as data.

use super::encoder::{EncoderConfig, HdrConfig};
use super::resolution::Resolution;
use crate::error::{Error, ErrorKind};
use crate::packet::Codec;
use crate::spec::{FrameRate, Preset as EncoderPreset, Tune, VideoSpec};
use std::fmt;
use std::str::FromStr;

/// A whole set of settings by name. [`Preset::all`] lists what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types)]
pub enum Preset {
    /// 720p30, low bandwidth (3 Mbit/s).
    Discord720p,
    /// 1080p60, standard streaming (6 Mbit/s).
    Stream1080p60,
    /// 1440p60, high quality (12 Mbit/s).
    Quality1440p60,
    /// 1440p120, high refresh gaming (15 Mbit/s).
    Gaming1440p120,
    /// 4K60, ultra quality (25 Mbit/s).
    Ultra4K60,
    /// 4K120, maximum (35 Mbit/s, RTX 40/50).
    Maximum4K120,
    /// As captured, every frame sent at once (8 Mbit/s).
    LowLatency,
    /// As captured, for the archive (50 Mbit/s).
    Recording,
    /// 4K60 HDR10 (35 Mbit/s).
    Hdr10_4K60,
    /// 1440p60 HDR10 (20 Mbit/s).
    Hdr10_1440p60,
}

/// What a preset means.
#[derive(Clone, Debug)]
pub struct PresetInfo {
    /// Which one.
    pub preset: Preset,
    /// Its name on the command line.
    pub name: &'static str,
    /// Its short name there.
    pub short: &'static str,
    /// What it is for, in a few words.
    pub purpose: &'static str,
    /// The codec.
    pub codec: Codec,
    /// The size; `None` = as captured.
    pub resolution: Option<Resolution>,
    /// Frames per second; `None` = as captured.
    pub framerate: Option<FrameRate>,
    /// Thousands of bits per second.
    pub bitrate_kbps: u32,
    /// Speed against quality.
    pub speed: EncoderPreset,
    /// What it is tuned for.
    pub tuning: Tune,
    /// Frames from one key frame to the next at most.
    pub gop_size: u32,
    /// B-frames; `None` = the encoder's choice.
    pub b_frames: Option<u32>,
    /// Frames of lookahead; `None` = the encoder's choice.
    pub lookahead: Option<u32>,
    /// HDR.
    pub hdr: Option<HdrConfig>,
}

/// What most have in common.
const COMMON: PresetInfo = PresetInfo {
    preset: Preset::Stream1080p60,
    name: "",
    short: "",
    purpose: "",
    codec: Codec::H264,
    resolution: None,
    framerate: None,
    bitrate_kbps: 6000,
    speed: EncoderPreset::Medium,
    tuning: Tune::Hq,
    gop_size: 120,
    b_frames: None,
    lookahead: None,
    hdr: None,
};

static TABLE: [PresetInfo; 10] = [
    PresetInfo {
        preset: Preset::Discord720p,
        name: "discord720p",
        short: "discord",
        purpose: "calls over little bandwidth",
        resolution: Some(Resolution::HD_720P),
        framerate: Some(FrameRate::FPS_30),
        bitrate_kbps: 3000,
        tuning: Tune::Ll,
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Stream1080p60,
        name: "stream1080p60",
        short: "stream",
        purpose: "standard streaming",
        resolution: Some(Resolution::FHD_1080P),
        framerate: Some(FrameRate::FPS_60),
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Quality1440p60,
        name: "quality1440p60",
        short: "quality",
        purpose: "high quality",
        codec: Codec::Hevc,
        resolution: Some(Resolution::QHD_1440P),
        framerate: Some(FrameRate::FPS_60),
        bitrate_kbps: 12_000,
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Gaming1440p120,
        name: "gaming1440p120",
        short: "gaming",
        purpose: "games at a high rate",
        codec: Codec::Hevc,
        resolution: Some(Resolution::QHD_1440P),
        framerate: Some(FrameRate::FPS_120),
        bitrate_kbps: 15_000,
        tuning: Tune::Ll,
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Ultra4K60,
        name: "ultra4k60",
        short: "4k",
        purpose: "ultra quality",
        codec: Codec::Av1,
        resolution: Some(Resolution::UHD_4K),
        framerate: Some(FrameRate::FPS_60),
        bitrate_kbps: 25_000,
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Maximum4K120,
        name: "maximum4k120",
        short: "max",
        purpose: "the most there is (RTX 40/50)",
        codec: Codec::Av1,
        resolution: Some(Resolution::UHD_4K),
        framerate: Some(FrameRate::FPS_120),
        bitrate_kbps: 35_000,
        ..COMMON
    },
    PresetInfo {
        preset: Preset::LowLatency,
        name: "lowlatency",
        short: "ll",
        purpose: "every frame sent at once",
        bitrate_kbps: 8000,
        tuning: Tune::Ull,
        gop_size: 30,
        b_frames: Some(0),
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Recording,
        name: "recording",
        short: "rec",
        purpose: "for the archive",
        codec: Codec::Hevc,
        bitrate_kbps: 50_000,
        speed: EncoderPreset::Slowest,
        lookahead: Some(20),
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Hdr10_4K60,
        name: "hdr10-4k60",
        short: "hdr4k",
        purpose: "HDR in 4K",
        codec: Codec::Hevc,
        resolution: Some(Resolution::UHD_4K),
        framerate: Some(FrameRate::FPS_60),
        bitrate_kbps: 35_000,
        hdr: Some(HdrConfig::Hdr10),
        ..COMMON
    },
    PresetInfo {
        preset: Preset::Hdr10_1440p60,
        name: "hdr10-1440p60",
        short: "hdr",
        purpose: "HDR",
        codec: Codec::Hevc,
        resolution: Some(Resolution::QHD_1440P),
        framerate: Some(FrameRate::FPS_60),
        bitrate_kbps: 20_000,
        hdr: Some(HdrConfig::Hdr10),
        ..COMMON
    },
];

impl Preset {
    /// Every preset and what it means, in the order of the enumeration.
    pub fn all() -> &'static [PresetInfo] {
        &TABLE
    }

    /// What this one means.
    pub fn info(self) -> &'static PresetInfo {
        &TABLE[self as usize]
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// Its settings as an encoder's.
    pub fn encoder(self) -> EncoderConfig {
        let info = self.info();
        EncoderConfig {
            codec: info.codec.clone(),
            resolution: info.resolution,
            framerate: info.framerate,
            bitrate_kbps: info.bitrate_kbps,
            preset: info.speed,
            tuning: info.tuning,
            gop_size: info.gop_size,
            b_frames: info.b_frames,
            lookahead: info.lookahead,
            profile: info.hdr.map(|_| "main10".into()),
            hdr: info.hdr,
            ..EncoderConfig::default()
        }
    }
}

impl Preset {
    /// Its settings as a track of a job's document.
    pub fn video(self) -> VideoSpec {
        // The table says nothing that a document refuses; a test reads every row.
        self.encoder().video(None).unwrap_or_else(|_| VideoSpec::new())
    }

    /// All presets as data: `[{"name", "short", "purpose", "video": {…}}]`, with `video` as a job's document has it.
    pub fn table() -> serde_json::Value {
        let rows = TABLE.iter().map(|info| {
            serde_json::json!({"name": info.name, "short": info.short, "purpose": info.purpose,
                "video": info.preset.video()})
        });
        rows.collect()
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    /// A long or short name; case, `-` and `_` do not matter.
    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = |s: &str| s.to_ascii_lowercase().replace(['-', '_'], "");
        let wanted = plain(text);
        TABLE
            .iter()
            .find(|i| plain(i.name) == wanted || plain(i.short) == wanted)
            .map(|i| i.preset)
            .ok_or_else(|| {
                let names: Vec<&str> = TABLE.iter().map(|i| i.name).collect();
                Error::new(ErrorKind::Invalid, format!("no preset {text:?}; there are {}", names.join(", ")))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enumeration_and_its_names_are_unique() {
        let mut names = Vec::new();
        for (i, info) in Preset::all().iter().enumerate() {
            assert_eq!(info.preset as usize, i, "{}", info.name);
            for name in [info.name, info.short, &format!("{:?}", info.preset)] {
                assert_eq!(name.parse::<Preset>().unwrap(), info.preset, "{name}");
            }
            names.extend([info.name, info.short]);
        }
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        let e = "Discord".parse::<Preset>().and("720".parse::<Preset>()).unwrap_err();
        assert!(e.message().contains("discord720p, stream1080p60"), "{e}");
    }

    /// The figures of the seeds, read against what the document says, not against the table.
    #[test]
    fn presets_mean_these_documents() {
        type Row = (Preset, &'static str, Option<(u32, u32)>, Option<&'static str>, u64, &'static str, u32);
        let rows: [Row; 10] = [
            (Preset::Discord720p, "h264", Some((1280, 720)), Some("30/1"), 3_000_000, "ll", 120),
            (Preset::Stream1080p60, "h264", Some((1920, 1080)), Some("60/1"), 6_000_000, "hq", 120),
            (Preset::Quality1440p60, "hevc", Some((2560, 1440)), Some("60/1"), 12_000_000, "hq", 120),
            (Preset::Gaming1440p120, "hevc", Some((2560, 1440)), Some("120/1"), 15_000_000, "ll", 120),
            (Preset::Ultra4K60, "av1", Some((3840, 2160)), Some("60/1"), 25_000_000, "hq", 120),
            (Preset::Maximum4K120, "av1", Some((3840, 2160)), Some("120/1"), 35_000_000, "hq", 120),
            (Preset::LowLatency, "h264", None, None, 8_000_000, "ull", 30),
            (Preset::Recording, "hevc", None, None, 50_000_000, "hq", 120),
            (Preset::Hdr10_4K60, "hevc", Some((3840, 2160)), Some("60/1"), 35_000_000, "hq", 120),
            (Preset::Hdr10_1440p60, "hevc", Some((2560, 1440)), Some("60/1"), 20_000_000, "hq", 120),
        ];
        for (preset, codec, size, rate, bitrate, tune, gop) in rows {
            let video = preset.encoder().video(None).unwrap();
            let json = serde_json::to_value(&video).unwrap();
            assert_eq!(json["codec"], codec, "{preset}");
            assert_eq!(video.width.zip(video.height), size, "{preset}");
            assert_eq!(json["frame_rate"].as_str(), rate, "{preset}");
            assert_eq!(json["bitrate"], bitrate, "{preset}");
            assert_eq!(json["tune"], tune, "{preset}");
            assert_eq!(video.gop, Some(gop), "{preset}");
            let hdr = matches!(preset, Preset::Hdr10_4K60 | Preset::Hdr10_1440p60);
            assert_eq!(json["colour"]["transfer"] == "smpte2084", hdr, "{preset}");
            assert_eq!(video.bit_depth, hdr.then_some(10), "{preset}");
            assert_eq!(video.profile.as_deref(), hdr.then_some("main10"), "{preset}");
        }
        assert_eq!(Preset::LowLatency.encoder().b_frames, Some(0));
        let archive = Preset::Recording.encoder().video(None).unwrap();
        assert_eq!((archive.lookahead, archive.preset), (Some(20), Some(EncoderPreset::P7)));
    }
}
