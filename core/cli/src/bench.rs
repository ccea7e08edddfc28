//! `bench`: how fast each encoder is here.

use crate::args::BenchArgs;
use crate::exit::{Failure, Outcome};
use crate::signals::Signals;
use ghoststream::event::Done;
use ghoststream::job::Taken;
use ghoststream::{Pipeline, device};
use std::io::Write;
use std::time::{Duration, Instant};

/// One measurement.
#[derive(serde::Serialize)]
struct Measured {
    encoder: String,
    codec: String,
    frames: u64,
    seconds: f64,
    fps: f64,
    bytes: u64,
}

/// `bench`.
pub fn run(args: &BenchArgs) -> Outcome {
    let mut signals = Signals::install()?;
    let mut out = std::io::stdout();
    if !args.json {
        let (width, height) = args.size;
        writeln!(out, "{} frames of {width}x{height}; the time to open the encoder counts", args.frames)?;
        writeln!(out, "{:<20} {:<8} {:>10} {:>10} {:>12}", "encoder", "codec", "seconds", "fps", "bytes")?;
    }
    let mut failed = None;
    for (encoder, codec) in chosen(args)? {
        match measure(args, &encoder, &codec, &mut signals) {
            Ok(m) if args.json => writeln!(out, "{}", serde_json::to_string(&m).unwrap_or_default())?,
            Ok(m) => {
                writeln!(
                    out,
                    "{:<20} {:<8} {:>10.2} {:>10.1} {:>12}",
                    m.encoder, m.codec, m.seconds, m.fps, m.bytes
                )?;
            }
            Err(e) if e.code == crate::exit::CANCELLED => return Err(e),
            Err(e) => {
                crate::screen::line(&format!("ghoststream: {encoder}: {}", e.message));
                failed = Some(Failure::silent(e.code));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The encoders to measure with their codecs.
fn chosen(args: &BenchArgs) -> Result<Vec<(String, String)>, Failure> {
    let known = device::list().encoders;
    let pair = |e: &device::Encoder| (e.name.clone(), e.codec.clone());
    if args.encoders.is_empty() {
        return Ok(known.iter().filter(|e| e.usable && e.kind == "video").map(pair).collect());
    }
    let find = |name: &String| {
        known.iter().find(|e| e.name == *name && e.kind == "video").map(pair).ok_or_else(|| Failure {
            code: 3,
            message: format!("--encoder: {name} is no video encoder of this build; see ghoststream devices"),
        })
    };
    args.encoders.iter().map(find).collect()
}

fn measure(args: &BenchArgs, encoder: &str, codec: &str, signals: &mut Signals) -> Result<Measured, Failure> {
    let begun = Instant::now();
    let job = Pipeline::from_spec(args.document(encoder, codec))?.start().job()?;
    let (mut frames, mut bytes) = (0, 0);
    loop {
        match job.next_packet(0, Some(Duration::from_millis(100)))? {
            Taken::Item(packet) => {
                frames += 1;
                bytes += packet.data.len() as u64;
            }
            Taken::Timeout => {}
            Taken::End => break,
        }
        if signals.wish().is_some() {
            job.cancel();
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    job.wait(None)?.map(Done::into_result).transpose()?;
    Ok(Measured {
        encoder: encoder.into(),
        codec: codec.into(),
        frames,
        seconds,
        fps: frames as f64 / seconds,
        bytes,
    })
}
