//! Your own pictures become a bare H.264 stream, without a copy on the way:  encode_frames OUT.h264 FRAMES

use bytes::Bytes;
use ghoststream::frame::{Frame, PixelFormat};
use ghoststream::job::Taken;
use ghoststream::spec::{
    FramesSpec, OutputSpec, PacketsSpec, RawMemory, RawVideoSpec, SourceSpec, VideoChoice, VideoSpec,
};
use ghoststream::time::Rational;
use ghoststream::{Codec, EncoderPreset, Framerate, Job, Pipeline, PipelineSpec, Result};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

const WIDTH: u32 = 320;
const HEIGHT: u32 = 180;
const RATE: u32 = 25;

/// A grey wedge that moves, in NV12: luma, then interleaved chroma.
fn draw(n: u32) -> Vec<(Bytes, usize)> {
    let luma =
        (0..HEIGHT).flat_map(|_| (0..WIDTH).map(|x| (16 + (x + 4 * n) % 220) as u8)).collect::<Vec<_>>();
    let chroma = vec![128; (WIDTH * HEIGHT / 2) as usize];
    [luma, chroma].map(|plane| (plane.into(), WIDTH as usize)).to_vec()
}

/// Writes the packets that are there (timeout 0) or all that will come (no timeout).
fn drain(job: &Job, timeout: Option<Duration>, out: &mut impl Write) -> Result<u32> {
    let mut packets = 0;
    while let Taken::Item(packet) = job.next_packet(0, timeout)? {
        out.write_all(&packet.data)?;
        packets += 1;
    }
    Ok(packets)
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let frames: u32 = args.get(2).map_or(Ok(50), |n| n.parse()).unwrap_or(0);
    if !(2..=3).contains(&args.len()) || frames == 0 {
        eprintln!("usage: encode_frames OUT.h264 [FRAMES]");
        std::process::exit(2);
    }
    let mut out = BufWriter::new(File::create(&args[1])?);

    let pictures = RawVideoSpec {
        width: WIDTH,
        height: HEIGHT,
        format: "nv12".into(),
        frame_rate: Framerate::fps(RATE),
        colour: None,
        hdr: None,
        memory: RawMemory::Host,
    };
    let video = VideoSpec {
        codec: Some(Codec::H264),
        crf: Some(23.0),
        preset: Some(EncoderPreset::P2),
        ..VideoSpec::new()
    };
    let spec = PipelineSpec::new(
        SourceSpec::frames(FramesSpec { video: Some(pictures), ..FramesSpec::default() }),
        vec![OutputSpec {
            video: VideoChoice::Track(Box::new(video)),
            ..OutputSpec::packets(PacketsSpec::default())
        }],
    );
    let job = Pipeline::from_spec(spec)?.start().job()?;

    let nv12 = PixelFormat::from_name("nv12").expect("every FFmpeg has NV12");
    let mut packets = 0;
    for n in 0..frames {
        let mut frame = Frame::wrap(nv12, WIDTH, HEIGHT, draw(n), Rational::new(1, RATE as i32))?;
        (frame.pts, frame.duration) = (Some(n.into()), 1);
        job.push_frame(frame)?;
        packets += drain(&job, Some(Duration::ZERO), &mut out)?;
    }
    job.finish_input();
    packets += drain(&job, None, &mut out)?;
    if let Some(done) = job.wait(None)? {
        done.into_result()?;
    }
    out.flush()?;
    println!("{frames} frames, {packets} packets");
    std::process::exit(if packets == frames { 0 } else { 1 });
}
