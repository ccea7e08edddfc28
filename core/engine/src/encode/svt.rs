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
        match asked {
            Ok(encoder) => {
                // Version 1 waits for ever when it is closed without having had a picture. What it makes of these is no matter.
                let _coded = pictures(encoder, format);
                true
            }
            Err(e) => e.kind() != av::Kind::Invalid,
        }
    })
}

/// Encodes some pictures to the end.
fn pictures(mut encoder: av::Encoder, format: PixelFormat) -> av::Result<()> {
    for pts in 0..8 {
        let mut picture = av::Frame::alloc_video(format, 64, 64, 0)?;
        for plane in 0..picture.plane_count() {
            if let Some(pixels) = picture.plane_mut(plane) {
                pixels.fill(128);
            }
        }
        picture.set_pts(Some(pts));
        encoder.send(Some(&picture), false)?;
        while encoder.receive()?.is_some() {}
    }
    encoder.send(None, false)?;
    while encoder.receive()?.is_some() {}
    Ok(())
}
