//! A file is decoded frame by frame:  read_frames IN SECONDS
//!
//! Prints the brightness of every picture; with SECONDS, only of the one that is shown then, found by an exact seek.

use ghoststream::frame::Frame;
use ghoststream::reader::{Reader, ReaderOptions};
use ghoststream::spec::{Seconds, SourceSpec};
use ghoststream::{Error, Result};

/// The time and mean of a grey picture.
fn show(frame: &Frame) -> Result<()> {
    let picture = frame.media();
    let mut pixels = vec![0; picture.packed_size().unwrap_or(0)];
    picture.copy_to_packed(&mut pixels).map_err(Error::from)?;
    let mean = pixels.iter().map(|p| f64::from(*p)).sum::<f64>() / pixels.len().max(1) as f64;
    let time = frame.presentation().map_or(0.0, |t| t.seconds());
    println!("{time:8.3} s  {}x{}  {mean:5.1}", picture.width(), picture.height());
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let time: Option<Seconds> = match args.get(2).map(|t| t.parse()) {
        None => None,
        Some(Ok(time)) => Some(time),
        Some(Err(e)) => {
            eprintln!("{e}");
            std::process::exit(2);
        }
    };
    if !(2..=3).contains(&args.len()) {
        eprintln!("usage: read_frames IN [SECONDS]");
        std::process::exit(2);
    }
    let options =
        ReaderOptions { audio: false, pixel_format: Some("gray".into()), ..ReaderOptions::default() };
    let mut reader = Reader::open(&SourceSpec::url(&args[1]), options)?;
    if let Some(time) = time {
        reader.seek(time)?;
        return reader.next()?.as_ref().map_or(Ok(()), show);
    }
    let mut frames = 0;
    while let Some(frame) = reader.next()? {
        show(&frame)?;
        frames += 1;
    }
    println!("{frames} frames");
    Ok(())
}
