//! Which of the codecs people record with this machine encodes in hardware.

use crate::encode::probe::probe;
use crate::packet::Codec;

/// What encodes on this machine. Each is found out by encoding, not read from a list of names, once per machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderInfo {
    /// Whether NVENC encodes anything here.
    pub nvenc_available: bool,
    /// What it encodes.
    pub nvenc_codecs: Vec<Codec>,
    /// Whether that includes AV1 (RTX 40 and newer).
    pub nvenc_av1: bool,
    /// Whether Intel Quick Sync works.
    pub qsv_available: bool,
    /// Whether VA-API works.
    pub vaapi_available: bool,
    /// Whether AMD's runtime works.
    pub amf_available: bool,
    /// What the CPU can encode with this FFmpeg.
    pub software_codecs: Vec<Codec>,
}

const CODECS: [Codec; 3] = [Codec::H264, Codec::Hevc, Codec::Av1];

fn on(suffix: &str) -> Vec<Codec> {
    CODECS.into_iter().filter(|codec| probe(&format!("{codec}_{suffix}")).is_ok()).collect()
}

/// Whether NVENC works here. The first call takes as long as opening an encoder.
pub fn is_nvenc_available() -> bool {
    CODECS.iter().any(|codec| probe(&format!("{codec}_nvenc")).is_ok())
}

/// What encodes on this machine. The first call takes as long as opening every encoder once.
pub fn get_encoder_info() -> EncoderInfo {
    let nvenc_codecs = on("nvenc");
    let software = [
        (Codec::H264, ["libx264", "libopenh264"]),
        (Codec::Hevc, ["libx265", "libkvazaar"]),
        (Codec::Av1, ["libsvtav1", "libaom-av1"]),
    ];
    EncoderInfo {
        nvenc_available: !nvenc_codecs.is_empty(),
        nvenc_av1: nvenc_codecs.contains(&Codec::Av1),
        nvenc_codecs,
        qsv_available: !on("qsv").is_empty(),
        vaapi_available: !on("vaapi").is_empty(),
        amf_available: !on("amf").is_empty(),
        software_codecs: software
            .into_iter()
            .filter(|(_, names)| names.iter().any(|name| probe(name).is_ok()))
            .map(|(codec, _)| codec)
            .collect(),
    }
}
