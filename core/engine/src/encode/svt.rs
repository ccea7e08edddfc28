//! What only the SVT-AV1 that is there can say: FFmpeg does not tell its version.

use crate::frame::PixelFormat;
use ghoststream_sys::ffmpeg as av;
use std::sync::OnceLock;

/// Whether it aims at an average bit rate where no picture waits for a later one (`rc=1:pred-struct=1`). Versions from 2 on
/// refuse that when they are opened; asked once, with a small picture.
pub(super) fn averages_in_low_delay() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let Some(format) = PixelFormat::from_name("yuv420p") else { return true };
        let options = [("preset", "10"), ("svtav1-params", "rc=1:pred-struct=1:lp=1")];
        let asked = av::Encoder::open(&av::EncoderOptions {
            name: "libsvtav1".into(),
            time_base: (1, 25),
            frame_rate: Some((25, 1)),
            bit_rate: Some(100_000),
            width: 64,
            height: 64,
            pixel_format: format,
            options: options.map(|(k, v)| (String::from(k), String::from(v))).into(),
            ..av::EncoderOptions::default()
        });
        !asked.is_err_and(|e| e.kind() == av::Kind::Invalid)
    })
}
