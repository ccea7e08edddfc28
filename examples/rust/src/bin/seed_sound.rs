//! The screen with the sound of a PipeWire node, into a file, and from another node half-way:
//!   seed_sound OUT.mkv NODE OTHER-NODE SECONDS
//!
//! Nodes are named by number or name. What GhostStream's own description shows of sound is `set_audio_source`, which is
//! called here before the start and while it runs.

use ghoststream::{
    AudioSource, CaptureConfig, EncoderConfig, EncoderPreset, ErrorKind, Output, Pipeline, Result,
};
use std::time::Duration;

fn node(text: &str) -> AudioSource {
    text.parse::<u32>().map_or_else(|_| text.into(), Into::into)
}

fn run(path: &str, first: &str, second: &str, seconds: f64) -> Result<()> {
    let capture = CaptureConfig::default().with_fps(30);
    let encoder = EncoderConfig::default().with_preset(EncoderPreset::Fastest);
    let video = Pipeline::new(capture, encoder, Output::file(path))?;
    video.set_audio_source(node(first))?;

    let job = video.start().keep()?;
    // At once, too: it is heard as soon as there is something to hear it with.
    video.set_audio_source(node(first))?;
    while job.stats().progress.time < seconds / 2.0 {
        if let Some(done) = job.wait(Some(Duration::from_millis(20)))? {
            return done.into_result().map(drop);
        }
    }
    video.set_audio_source(node(second))?;
    while job.stats().progress.time < seconds && job.wait(Some(Duration::from_millis(20)))?.is_none() {}
    let done = video.stop().done()?;
    println!("{}", done.outputs.join("\n"));
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [path, first, second, seconds] = &args[..] else {
        eprintln!("usage: seed_sound OUT.mkv NODE OTHER-NODE SECONDS");
        std::process::exit(2);
    };
    let bad = |_| ghoststream::Error::new(ErrorKind::Invalid, "SECONDS is no number");
    run(path, first, second, seconds.parse().map_err(bad)?)
}
