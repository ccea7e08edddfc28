//! A file of any content, read frame by frame and sought in.
#![no_main]

mod memory;

use ghoststream::ErrorKind;
use ghoststream::reader::{Reader, ReaderOptions};
use ghoststream::spec::{Seconds, SourceSpec};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;

/// More frames than this only take time.
const FRAMES: usize = 24;
/// Larger pictures only take time and memory.
const PIXELS: u64 = 1 << 20;

/// One file for the whole run; `run` removes the folder.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("gs-fuzz-{}.media", std::process::id())));

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, data).expect("the temporary folder can be written");
    if let Err(e) = read(data) {
        assert_ne!(e.kind(), ErrorKind::Internal, "{e}");
    }
    memory::check();
});

fn read(data: &[u8]) -> ghoststream::Result<()> {
    let mut spec = SourceSpec::url(FILE.to_string_lossy());
    spec.protocols = vec!["file".into()];
    spec.timeout = 5.0;
    let mut options = ReaderOptions { threads: 1, ..ReaderOptions::default() };
    if data.len() % 2 == 1 {
        (options.pixel_format, options.width) = (Some("rgb24".into()), Some(32));
    }
    let mut reader = Reader::open(&spec, options)?;
    let pixels = |v: &ghoststream::probe::Video| u64::from(v.width) * u64::from(v.height);
    if reader.info().streams.iter().any(|s| s.video.as_ref().is_some_and(|v| pixels(v) > PIXELS)) {
        return Ok(());
    }
    serde_json::to_string(reader.info()).expect("what was found can be written");
    frames(&mut reader)?;
    reader.seek(Seconds(0.1))?;
    frames(&mut reader)?;
    if let Ok(len) = reader.len() {
        reader.seek_frame(len / 2)?;
        frames(&mut reader)?;
        assert!(reader.seek_frame(len).is_err());
    }
    Ok(())
}

fn frames(reader: &mut Reader) -> ghoststream::Result<()> {
    for _ in 0..FRAMES {
        let Some(frame) = reader.next()? else { break };
        let _ = (frame.presentation(), frame.end());
        if frame.is_video() {
            let video = frame.video();
            assert!(video.width > 0 && video.height > 0);
            if u64::from(video.width) * u64::from(video.height) > PIXELS {
                break;
            }
        } else {
            assert!(frame.samples() > 0 && frame.audio().sample_rate > 0);
        }
    }
    Ok(())
}
