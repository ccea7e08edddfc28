//! Media whose insides are damaged or strange: what is whole comes out, the rest is said.

use crate::support::*;
use serde_json::json;

/// The position of the `n`th box called `name`: that of its size.
fn boxed(file: &[u8], name: &[u8; 4], n: usize) -> usize {
    file.windows(4).enumerate().filter(|(_, w)| w == name).nth(n).unwrap().0 - 4
}

/// A fragment that claims 70 million samples in no bytes at all made 2.3 GB of FFmpeg's tables.
#[test]
fn a_count_of_samples_that_is_damaged_takes_no_memory() {
    let dir = Dir::new();
    let (whole, damaged) = (dir.path("whole.mp4"), dir.path("damaged.mp4"));
    ffmpeg(&format!(
        "-f lavfi -i testsrc2=s=64x48:r=10:d=1 -c:v libx264 -g 5 -movflags frag_keyframe+empty_moov {whole}"
    ));
    let bytes = std::fs::read(&whole).unwrap();
    for fragment in 0..2 {
        let mut bytes = bytes.clone();
        let run = boxed(&bytes, b"trun", fragment) + 8;
        // Only the offset of the data; everything about the samples is as the header of the track says.
        bytes[run..run + 4].copy_from_slice(&1u32.to_be_bytes());
        bytes[run + 4..run + 8].copy_from_slice(&70_000_000u32.to_be_bytes());
        std::fs::write(&damaged, bytes).unwrap();
        let message = failure(
            json!({"source": {"url": damaged}, "outputs": [{"path": dir.path("o.mp4"), "video": {"codec": "copy"}}]}),
        );
        assert!(message.contains("damaged.mp4") && message.contains("512 MiB"), "{fragment}: {message}");
        assert!(!exists(&dir.path("o.mp4")));
    }
}
