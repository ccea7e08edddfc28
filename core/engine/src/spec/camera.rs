//! A virtual camera as an output.

use super::{AudioChoice, OutputSpec, SubtitleChoice, VideoChoice, VideoSpec};
use crate::error::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A camera that other programs open as they open a webcam. It shows the newest picture at a constant rate, also while the
/// source stands still, in BT.709 of limited range, up to 576 lines with the matrix of BT.601, as
/// other cameras. It has no sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CameraSpec {
    /// Its name, for people and programs: a camera of PipeWire. Or the path of a v4l2loopback device (`/dev/video10`), which
    /// then is the camera.
    pub name: String,
    /// How its pixels lie.
    #[serde(default)]
    pub format: CameraFormat,
}

/// Pixel formats of cameras.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CameraFormat {
    /// 4:2:0, three planes.
    #[default]
    I420,
    /// 4:2:0, two planes.
    Nv12,
    /// 4:2:2, packed.
    Yuy2,
}

impl CameraFormat {
    /// FFmpeg's name.
    pub(crate) fn pixel_format(self) -> &'static str {
        match self {
            CameraFormat::I420 => "yuv420p",
            CameraFormat::Nv12 => "nv12",
            CameraFormat::Yuy2 => "yuyv422",
        }
    }
}

impl CameraSpec {
    /// Whether pictures of so many lines are BT.709: what programs take a camera's pictures for, which say nothing themselves.
    pub(crate) fn is_hd(height: u32) -> bool {
        height > 576
    }

    /// Whether it is a v4l2loopback device.
    pub(crate) fn is_device(&self) -> bool {
        self.name.starts_with("/dev/")
    }

    /// A camera of the usual format.
    pub fn new(name: impl Into<String>) -> Self {
        CameraSpec { name: name.into(), format: CameraFormat::default() }
    }
}

/// What of `video` a camera can have.
pub(crate) fn shown(video: &VideoSpec) -> VideoSpec {
    VideoSpec {
        stream: video.stream,
        width: video.width,
        height: video.height,
        scaler: video.scaler,
        frame_rate: video.frame_rate,
        auto_rotate: video.auto_rotate,
        filters: video.filters.clone(),
        ..VideoSpec::new()
    }
}

/// Refuses what makes no sense for a camera.
pub(super) fn check(path: &str, o: &OutputSpec) -> Result<()> {
    let Some(camera) = &o.camera else { return Ok(()) };
    let refuse = |field: &str, message: &str| Err(Error::invalid(format!("{path}.{field}"), message));
    if camera.name.is_empty() || camera.name.contains('\0') {
        return refuse("camera.name", "is empty or contains a NUL");
    }
    let fields = [
        ("format", o.format.is_some()),
        ("ladder", o.ladder.is_some()),
        ("segment", o.segment.is_some()),
        ("audio", matches!(o.audio, AudioChoice::Tracks(_))),
        ("subtitles", matches!(o.subtitles, SubtitleChoice::Tracks(_))),
        ("fragmented", o.fragmented),
        ("options", !o.options.is_empty()),
        ("metadata", !o.metadata.is_empty()),
        ("video", matches!(o.video, VideoChoice::None)),
    ];
    if let Some((field, _)) = fields.iter().find(|(_, given)| *given) {
        return refuse(field, "a camera has pictures and nothing else");
    }
    if let VideoChoice::Track(video) = &o.video {
        let value = |v: &VideoSpec| serde_json::to_value(v).unwrap_or_default();
        let (given, possible) = (value(video), value(&shown(video)));
        let other = given.as_object().into_iter().flatten().find(|(key, v)| possible.get(key) != Some(*v));
        if let Some((field, _)) = other {
            return refuse(&format!("video.{field}"), "a camera's pictures are not encoded");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::PipelineSpec;

    fn read(output: &str) -> Result<PipelineSpec> {
        PipelineSpec::from_json(&format!(r#"{{"source": {{"pattern": {{}}}}, "outputs": [{output}]}}"#))
    }

    #[test]
    fn a_camera_has_pictures_only() {
        let spec =
            read(r#"{"camera": {"name": "c", "format": "nv12"}, "video": {"width": 640, "frame_rate": 30}}"#);
        assert_eq!(spec.unwrap().outputs[0].label(), "camera:c");
        for (bad, field) in [
            (r#"{"camera": {"name": ""}}"#, "outputs[0].camera.name"),
            (r#"{"camera": {"name": "c"}, "path": "a.mkv"}"#, "outputs[0]"),
            (r#"{"camera": {"name": "c", "format": "bgrx"}}"#, "outputs[0].camera.format"),
            (r#"{"camera": {"name": "c"}, "format": "mkv"}"#, "outputs[0].format"),
            (r#"{"camera": {"name": "c"}, "video": {"codec": "h264"}}"#, "outputs[0].video.codec"),
            (r#"{"camera": {"name": "c"}, "video": {"crf": 20}}"#, "outputs[0].video.crf"),
            (r#"{"camera": {"name": "c"}, "video": false}"#, "outputs[0].video"),
        ] {
            let e = read(bad).expect_err(bad);
            assert!(e.message().starts_with(field), "{bad}: {e}");
        }
    }
}
