//! The commands that take what happens now: `record`, `replay`, `stream`, `camera`; and the list of presets.

use crate::args::RunArgs;
use crate::args::live::{CameraArgs, LiveArgs, RecordArgs, ReplayArgs, StreamArgs};
use crate::exit::{Failure, Outcome};
use crate::report::Reporter;
use crate::{drive, inspect, transcode, words};
use ghoststream::session::Preset;
use ghoststream::spec::PipelineSpec;
use std::io::Write;

/// `record`.
pub fn record(args: &RecordArgs, quiet: bool) -> Outcome {
    go(&args.live, quiet, || args.document())
}

/// `replay`.
pub fn replay(args: &ReplayArgs, quiet: bool) -> Outcome {
    go(&args.live, quiet, || args.document())
}

/// `stream`.
pub fn stream(args: &StreamArgs, quiet: bool) -> Outcome {
    go(&args.live, quiet, || args.document())
}

/// `camera`.
pub fn camera(args: &CameraArgs, quiet: bool) -> Outcome {
    go_as(args.scene.list, &args.run, quiet, || args.document())
}

fn go(args: &LiveArgs, quiet: bool, document: impl Fn() -> Result<PipelineSpec, Failure>) -> Outcome {
    go_as(args.scene.list, &args.run, quiet, document)
}

fn go_as(
    list: bool,
    run: &RunArgs,
    quiet: bool,
    document: impl Fn() -> Result<PipelineSpec, Failure>,
) -> Outcome {
    if list {
        return inspect::devices(false);
    }
    let spec = document()?;
    if run.print_spec || run.plan {
        return transcode::show(spec, true, run);
    }
    drive::run_live(spec, &mut Reporter::new(run, quiet)).map(drop)
}

/// `presets`.
pub fn presets(json: bool) -> Outcome {
    let mut out = std::io::stdout();
    if json {
        return Ok(writeln!(out, "{}", Preset::table())?);
    }
    for info in Preset::all() {
        let size = info.resolution.map_or("as captured".into(), |r| r.to_string());
        let rate = info.framerate.map_or(String::new(), |r| format!(" at {}", r.0.as_f64()));
        let bitrate = words::rate(u64::from(info.bitrate_kbps) * 1000);
        let hdr = if info.hdr.is_some() { ", HDR10" } else { "" };
        writeln!(
            out,
            "{:<16} {:<8} {:<5} {size}{rate}, {bitrate}{hdr}: {}",
            info.name, info.short, info.codec, info.purpose
        )?;
    }
    Ok(())
}
