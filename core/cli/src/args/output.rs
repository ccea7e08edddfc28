//! Arguments that say what is written, and how the whole job behaves.

use super::values::{self, one_of};
use crate::exit::Failure;
use clap::Args;
use ghoststream::spec::{
    CameraSpec, Container, LadderSpec, OutputSpec, PipelineSpec, STANDARD_OUTPUT, Seconds, SegmentContainer,
    SegmentSpec, TilesSpec,
};

/// Containers, ladders and tags.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// The container [default: by the name of the output]
    #[arg(long, value_parser = one_of::<Container>())]
    pub format: Option<Container>,
    /// Several renditions: 'auto', or WxH@RATE[/MAX] or HEIGHTp@RATE or 'copy', separated by commas
    #[arg(long, value_name = "auto|RUNG,…")]
    pub ladder: Option<String>,
    /// Encode even what already conforms, instead of copying it
    #[arg(long)]
    pub no_copy_conforming: bool,
    /// Length of a segment in seconds [default: 4]
    #[arg(long, value_name = "TIME")]
    pub segment_duration: Option<Seconds>,
    /// What a segment is [default: fmp4]
    #[arg(long, value_parser = one_of::<SegmentContainer>())]
    pub segment: Option<SegmentContainer>,
    /// No I-frame playlists
    #[arg(long)]
    pub no_iframes: bool,
    /// MP4 and MOV: write fragments, playable whatever happens while the file is made
    #[arg(long)]
    pub fragmented: bool,
    /// MP4 and MOV: leave the index at the end
    #[arg(long)]
    pub no_faststart: bool,
    /// Put previews on sheets (pictures): COLUMNSxROWS on each, by default one every ten seconds and 320 pixels wide
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = values::tiles)]
    pub tiles: Option<(u32, u32)>,
    /// Write a WebVTT file that says which preview is shown when, and where on its sheet it lies
    #[arg(long, value_name = "FILE", requires = "tiles")]
    pub tiles_index: Option<String>,
    /// A muxer option by FFmpeg's name, applied last (repeatable)
    #[arg(long = "format-option", value_name = "KEY=VALUE", value_parser = values::key_value)]
    pub format_options: Vec<(String, String)>,
    /// A tag to write; an empty value removes it (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::key_value)]
    pub metadata: Vec<(String, String)>,
    /// Do not carry the source's tags
    #[arg(long)]
    pub no_metadata: bool,
    /// Do not carry the source's chapters
    #[arg(long)]
    pub no_chapters: bool,
    /// Do not carry the source's attachments
    #[arg(long)]
    pub no_attachments: bool,
    /// Replace what already exists
    #[arg(short = 'y', long)]
    pub overwrite: bool,
}

/// The whole job.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Job")]
pub struct JobArgs {
    /// Threads for the whole job; 0 = as many as the machine has cores
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<u32>,
    /// Fail instead of replacing what cannot run as asked by the next best
    #[arg(long)]
    pub no_fallback: bool,
    /// Keep what is half-written when the job fails or is cancelled
    #[arg(long)]
    pub keep_partial: bool,
    /// Seconds without progress after which the job fails; 0 = never [default: 120]
    #[arg(long, value_name = "SECONDS")]
    pub stall_timeout: Option<f64>,
}

impl OutputArgs {
    /// The output at `path`. With `several` outputs, options about one kind of container are for the outputs of that
    /// kind, and `--format` is for those whose name does not tell.
    ///
    /// # Errors
    /// A usage error for a wrong ladder, and `-` (standard output) without a container that it can have.
    pub fn output(&self, path: &str, several: bool) -> Result<OutputSpec, Failure> {
        if path == "-" {
            return self.standard_output(several);
        }
        if let Some(camera) = path.strip_prefix("camera:") {
            let camera = parse_camera(camera).map_err(|e| Failure::usage(format!("{path}: {e}")))?;
            return Ok(OutputSpec::camera(camera));
        }
        let guessed = Container::from_path(path);
        let format = if several && guessed.is_some() { None } else { self.format };
        let container = format.or(guessed);
        let segmented = !several || container.is_some_and(Container::is_segmented);
        let mp4 = !several || matches!(container, Some(Container::Mp4 | Container::Mov));

        let mut output = OutputSpec::path(path);
        output.format = format;
        if let Some(ladder) = self.ladder.as_deref().filter(|_| segmented) {
            output.ladder = Some(parse_ladder(ladder)?);
        }
        let cut = self.segment_duration.is_some() || self.segment.is_some() || self.no_iframes;
        if cut && segmented {
            let default = SegmentSpec::default();
            output.segment = Some(SegmentSpec {
                duration: self.segment_duration.unwrap_or(default.duration),
                container: self.segment.unwrap_or_default(),
                iframes: !self.no_iframes,
                ..default
            });
        }
        // A poster beside sheets is none of them.
        let sheets = !several || output.is_numbered();
        if let Some((columns, rows)) = self.tiles.filter(|_| sheets) {
            let name = |index: &str| if index == "-" { STANDARD_OUTPUT.into() } else { index.to_owned() };
            let index = self.tiles_index.as_deref().map(name);
            output.tiles = Some(TilesSpec { index, ..TilesSpec::new(columns, rows) });
        }
        output.copy_conforming = !self.no_copy_conforming;
        output.fragmented = self.fragmented && mp4;
        output.faststart = !(self.no_faststart && mp4);
        output.options = self.format_options.iter().cloned().collect();
        output.metadata = self.metadata.iter().cloned().collect();
        output.copy_metadata = !self.no_metadata;
        output.chapters = !self.no_chapters;
        output.attachments = !self.no_attachments;
        output.overwrite = self.overwrite;
        Ok(output)
    }

    /// One container, read while it is written.
    fn standard_output(&self, several: bool) -> Result<OutputSpec, Failure> {
        let Some(container) = self.format.filter(|c| !c.is_segmented()) else {
            return Err(Failure::usage(
                "OUT: standard output has no name that says what it is; transcode takes one container by --format (./- is a file called -)",
            ));
        };
        let mut output = self.output(STANDARD_OUTPUT, several)?;
        // Nothing is written into what has been read already.
        output.fragmented |= matches!(container, Container::Mp4 | Container::Mov);
        Ok(output)
    }

    /// Refuses what `several` outputs leave without anything to work on.
    ///
    /// # Errors
    /// A usage error naming the option.
    pub fn check_used(&self, outputs: &[OutputSpec]) -> Result<(), Failure> {
        let unused = [
            ("--format", self.format.is_some() && outputs.iter().all(|o| o.format.is_none())),
            ("--ladder", self.ladder.is_some() && outputs.iter().all(|o| o.ladder.is_none())),
            (
                "--segment, --segment-duration, --no-iframes",
                (self.segment.is_some() || self.segment_duration.is_some() || self.no_iframes)
                    && outputs.iter().all(|o| o.segment.is_none()),
            ),
            ("--tiles", self.tiles.is_some() && outputs.iter().all(|o| o.tiles.is_none())),
            ("--fragmented", self.fragmented && outputs.iter().all(|o| !o.fragmented)),
            ("--no-faststart", self.no_faststart && outputs.iter().all(|o| o.faststart)),
        ];
        match unused.iter().find(|(_, unused)| *unused) {
            Some((option, _)) => {
                Err(Failure::usage(format!("{option}: none of the outputs is of a kind that it is for")))
            }
            None => Ok(()),
        }
    }
}

/// Parses `NAME[?format=i420|nv12|yuy2]`, where the name may be a device's path.
pub fn parse_camera(text: &str) -> Result<CameraSpec, String> {
    let (name, query) = text.split_once('?').unwrap_or((text, ""));
    let mut camera = CameraSpec::new(name);
    for item in query.split('&').filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            Some(("format", format)) => {
                let format = serde_json::from_value(format.to_lowercase().into());
                camera.format = format.map_err(|e| format!("format: {e}"))?;
            }
            _ => return Err(format!("{item:?} is not a property of a camera; there is format")),
        }
    }
    if name.is_empty() { Err("a camera needs a name".into()) } else { Ok(camera) }
}

fn parse_ladder(text: &str) -> Result<LadderSpec, Failure> {
    if text == "auto" {
        return Ok(LadderSpec::Auto);
    }
    let rungs = text.split(',').map(values::rung).collect::<Result<_, _>>();
    rungs.map(LadderSpec::Rungs).map_err(|e| Failure::usage(format!("--ladder: {e}")))
}

impl JobArgs {
    /// Puts the options into `spec`.
    pub fn apply(&self, spec: &mut PipelineSpec) {
        spec.threads = self.threads.unwrap_or(spec.threads);
        spec.fallback = !self.no_fallback;
        spec.keep_partial = self.keep_partial;
        spec.stall_timeout = self.stall_timeout.unwrap_or(spec.stall_timeout);
    }
}
