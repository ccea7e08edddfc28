//! A live test pattern with sound is recorded for some seconds, then stopped:  record_pattern OUT.mkv SECONDS
//!
//! The pattern stands in for the screen: `CaptureConfig::default()` will record that.

use ghoststream::spec::{PatternKind, PatternSpec};
use ghoststream::{CaptureConfig, EncoderConfig, EncoderPreset, Output, Pipeline, Result};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::time::Duration;

async fn record(path: &str, seconds: f64) -> Result<()> {
    let pattern = PatternSpec {
        kind: PatternKind::Gradient,
        width: 320,
        height: 180,
        burn_in: true,
        ..PatternSpec::default()
    };
    let capture = CaptureConfig::pattern(pattern).with_fps(30);
    let encoder = EncoderConfig::default().with_bitrate_kbps(800).with_preset(EncoderPreset::Fast);
    let pipeline = Pipeline::builder()
        .capture(capture)
        .encoder(encoder)
        .with_audio()
        .output(Output::file(path))
        .overwrite(true)
        .build()?;

    pipeline.start().await?;
    while pipeline.is_running() && pipeline.stats().await?.progress.time < seconds {
        // A program with a runtime would sleep with it.
        std::thread::sleep(Duration::from_millis(50));
    }
    let done = pipeline.stop().await?;
    println!("{}", done.outputs.join("\n"));
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let seconds: f64 = args.get(2).map_or(Ok(3.0), |s| s.parse()).unwrap_or(0.0);
    if !(2..=3).contains(&args.len()) || seconds <= 0.0 {
        eprintln!("usage: record_pattern OUT.mkv [SECONDS]");
        std::process::exit(2);
    }
    block_on(record(&args[1], seconds))
}

/// Any executor does; a program that has tokio or smol uses that.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
