//! A file becomes an HLS ladder, decoded once:  ladder IN DIRECTORY [RUNG-HEIGHT...]
//!
//! Without heights the library chooses the rungs from the source. Prints the plan first.

use ghoststream::spec::{LadderSpec, OutputSpec, Seconds, SegmentSpec, SourceSpec, VideoChoice, VideoSpec};
use ghoststream::{Codec, Container, EncoderPreset, Pipeline, PipelineSpec, Result};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [input, directory, heights @ ..] = &args[..] else {
        eprintln!("usage: ladder IN DIRECTORY [RUNG-HEIGHT...]");
        std::process::exit(2);
    };
    let heights: Vec<Option<u32>> = heights.iter().map(|h| h.parse().ok()).collect();
    if heights.contains(&None) {
        eprintln!("a rung's height is a number of lines");
        std::process::exit(2);
    }
    let rungs: Vec<VideoSpec> =
        heights.into_iter().map(|height| VideoSpec { height, ..VideoSpec::new() }).collect();
    let video =
        VideoSpec { codec: Some(Codec::H264), preset: Some(EncoderPreset::Fastest), ..VideoSpec::new() };
    let output = OutputSpec {
        format: Some(Container::Hls),
        overwrite: true,
        ladder: Some(if rungs.is_empty() { LadderSpec::Auto } else { LadderSpec::Rungs(rungs) }),
        video: VideoChoice::Track(Box::new(video)),
        segment: Some(SegmentSpec { duration: Seconds(2.0), ..SegmentSpec::default() }),
        ..OutputSpec::path(directory)
    };
    let pipeline = Pipeline::from_spec(PipelineSpec::new(SourceSpec::url(input), vec![output]))?;

    for output in pipeline.plan()?.outputs {
        for track in output.tracks {
            println!("{} {}: {} ({})", track.kind, track.name, track.detail, track.reason);
        }
    }

    let job = pipeline.start().job()?;
    if let Some(done) = job.wait(None)? {
        for playlist in done.into_result()?.outputs {
            println!("{playlist}");
        }
    }
    Ok(())
}
