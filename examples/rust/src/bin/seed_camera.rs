//! The screen as a camera that other programs can open, for some seconds:  seed_camera SECONDS
//!
//! What stands between the two lines is the first program that GhostStream's own description shows, as it stands there.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use ghoststream::EncoderPreset;

async fn run(seconds: f64) -> ghoststream::Result<()> {
    // ------------------------------------------------------------------------------------------------------
    use ghoststream::{CaptureConfig, Codec, EncoderConfig, Output, Pipeline};

    // Configure capture
    let capture = CaptureConfig::default().with_fps(60).with_show_cursor(true);

    // Configure encoder
    let encoder = EncoderConfig::default()
        .with_codec(Codec::AV1)
        .with_resolution(1920, 1080)
        .with_bitrate_kbps(8000)
        .with_preset(EncoderPreset::Quality);

    // Configure output
    let output = Output::VirtualCamera { name: "GhostStream Camera".into() };

    // Create and run pipeline
    let pipeline = Pipeline::new(capture, encoder, output)?;
    pipeline.start().await?;
    // ------------------------------------------------------------------------------------------------------

    std::thread::sleep(Duration::from_secs_f64(seconds));
    pipeline.stop().await?;
    Ok(())
}

fn main() -> ghoststream::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(10.0);
    block_on(run(seconds))
}

/// Any executor would do; this is the smallest.
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
