//! A file becomes an MP4, with progress:  transcode IN OUT.mp4

use ghoststream::event::{Event, Next};
use ghoststream::spec::{OutputSpec, SourceSpec, VideoChoice, VideoSpec};
use ghoststream::{Codec, Container, EncoderPreset, Pipeline, PipelineSpec, Result};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, input, output] = &args[..] else {
        eprintln!("usage: transcode IN OUT.mp4");
        std::process::exit(2);
    };
    let video = VideoSpec {
        codec: Some(Codec::H264),
        crf: Some(23.0),
        preset: Some(EncoderPreset::P2),
        ..VideoSpec::new()
    };
    let output = OutputSpec {
        format: Some(Container::Mp4),
        overwrite: true,
        video: VideoChoice::Track(Box::new(video)),
        ..OutputSpec::path(output)
    };
    let spec = PipelineSpec::new(SourceSpec::url(input), vec![output]);

    let job = Pipeline::from_spec(spec)?.start().job()?;
    loop {
        match job.next_event(None) {
            Next::Event(Event::Progress(p)) => {
                println!("{:5.1} %  {:6.1} fps  {:4.1}x", p.fraction.unwrap_or(0.0) * 100.0, p.fps, p.speed);
            }
            Next::Event(Event::Warning { message, .. }) => println!("{message}"),
            Next::Event(Event::Done(done)) => return done.into_result().map(drop),
            Next::Event(_) => {}
            Next::Timeout | Next::End => return Ok(()),
        }
    }
}
