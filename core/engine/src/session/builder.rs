//! A pipeline, part by part.

use super::audio::{AudioConfig, AudioSource};
use super::capture::CaptureConfig;
use super::encoder::EncoderConfig;
use super::output::Output;
use super::preset::Preset;
use crate::error::{Error, Result};
use crate::packet::Codec;
use crate::pipeline::Pipeline;
use crate::spec::{FrameRate, PipelineSpec};

/// A pipeline, part by part: a capture, an encoder, an output and, if wanted, sound. Later calls win over earlier ones,
/// so a preset comes before what differs from it.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing is made until `build`"]
pub struct PipelineBuilder {
    capture: CaptureConfig,
    encoder: EncoderConfig,
    audio: AudioConfig,
    output: Option<Output>,
    overwrite: bool,
    name: Option<String>,
}

impl PipelineBuilder {
    /// The screen, H.264 at 6 Mbit/s, no sound, and no output yet.
    pub fn new() -> Self {
        PipelineBuilder::default()
    }

    /// What to capture.
    pub fn capture(mut self, capture: CaptureConfig) -> Self {
        self.capture = capture;
        self
    }

    /// How pictures are coded.
    pub fn encoder(mut self, encoder: EncoderConfig) -> Self {
        self.encoder = encoder;
        self
    }

    /// Where the result goes.
    pub fn output(mut self, output: impl Into<Output>) -> Self {
        self.output = Some(output.into());
        self
    }

    /// Codes pictures as the preset says.
    pub fn preset(mut self, preset: Preset) -> Self {
        self.encoder = preset.encoder();
        self
    }

    /// Codes pictures as `codec`.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.encoder.codec = codec;
        self
    }

    /// Scales pictures to `width` × `height` pixels.
    pub fn resolution(mut self, width: u32, height: u32) -> Self {
        self.encoder = self.encoder.with_resolution(width, height);
        self
    }

    /// Thousands of bits per second of the picture.
    pub fn bitrate(mut self, kbps: u32) -> Self {
        self.encoder.bitrate_kbps = kbps;
        self
    }

    /// Frames per second, captured and coded.
    pub fn fps(mut self, fps: u32) -> Self {
        self.capture.framerate = Some(FrameRate::fps(fps));
        self.encoder.framerate = Some(FrameRate::fps(fps));
        self
    }

    /// With sound, coded by the defaults of [`AudioConfig`] unless something else is said.
    pub fn with_audio(mut self) -> Self {
        self.audio.enabled = true;
        self
    }

    /// How sound is coded, and whether there is any.
    pub fn audio(mut self, audio: AudioConfig) -> Self {
        self.audio = audio;
        self
    }

    /// Where sound comes from. Switches it on.
    pub fn audio_source(mut self, source: impl Into<AudioSource>) -> Self {
        self.audio.source = source.into();
        self.with_audio()
    }

    /// How sound is coded. Switches it on.
    pub fn audio_codec(mut self, codec: Codec) -> Self {
        self.audio.codec = codec;
        self.with_audio()
    }

    /// Thousands of bits per second of the sound. Switches it on.
    pub fn audio_bitrate(mut self, kbps: u32) -> Self {
        self.audio = self.audio.with_bitrate_kbps(kbps);
        self.with_audio()
    }

    /// Replaces files that exist already; without it they make the pipeline fail.
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// A label for logs and events.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The document that this is.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for captured sound without a screen or camera;
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) naming the part and field.
    pub fn spec(&self) -> Result<PipelineSpec> {
        let output = self.output.as_ref().ok_or_else(|| Error::invalid("output", "is needed"))?;
        let source = self.capture.source(&self.audio, output.is_live())?;
        let video = self.encoder.video(self.capture.output_rate())?;
        let outputs = output.specs(&video, &self.audio, self.overwrite)?;
        Ok(PipelineSpec { name: self.name.clone(), ..PipelineSpec::new(source, outputs) })
    }

    /// The pipeline, checked and inert.
    ///
    /// # Errors
    /// As [`PipelineBuilder::spec`], and [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) naming the document's field.
    pub fn build(self) -> Result<Pipeline> {
        Pipeline::from_spec(self.spec()?)
    }
}

impl Pipeline {
    /// A pipeline from `capture` through an encoder to `output`, without sound.
    ///
    /// # Errors
    /// As [`PipelineBuilder::build`].
    pub fn new(capture: CaptureConfig, encoder: EncoderConfig, output: Output) -> Result<Pipeline> {
        Pipeline::new_with_audio(capture, encoder, output, AudioConfig::default())
    }

    /// As [`Pipeline::new`], with sound.
    ///
    /// # Errors
    /// As [`PipelineBuilder::build`].
    pub fn new_with_audio(
        capture: CaptureConfig,
        encoder: EncoderConfig,
        output: Output,
        audio: AudioConfig,
    ) -> Result<Pipeline> {
        PipelineBuilder::new().capture(capture).encoder(encoder).output(output).audio(audio).build()
    }

    /// The screen, coded as `preset` says, to `output`, without sound.
    ///
    /// # Errors
    /// As [`PipelineBuilder::build`].
    pub fn from_preset(preset: Preset, output: Output) -> Result<Pipeline> {
        Pipeline::from_preset_with_audio(preset, output, AudioConfig::default())
    }

    /// As [`Pipeline::from_preset`], with sound.
    ///
    /// # Errors
    /// As [`PipelineBuilder::build`].
    pub fn from_preset_with_audio(preset: Preset, output: Output, audio: AudioConfig) -> Result<Pipeline> {
        let capture = CaptureConfig { framerate: preset.info().framerate, ..CaptureConfig::default() };
        Pipeline::new_with_audio(capture, preset.encoder(), output, audio)
    }

    /// A pipeline, part by part.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::session::{CaptureBackend, RateControl};
    use crate::spec::{PatternSpec, Tune};

    fn json(builder: &PipelineBuilder) -> serde_json::Value {
        let spec = builder.spec().unwrap();
        spec.check().unwrap();
        serde_json::to_value(&spec).unwrap()
    }

    fn bars() -> PipelineBuilder {
        PipelineBuilder::new()
            .capture(CaptureConfig::pattern(PatternSpec::default()))
            .output(Output::file("o.mkv"))
    }

    #[test]
    fn parts_become_the_document() {
        let made = json(
            &bars()
                .preset(Preset::Recording)
                .codec(Codec::AV1)
                .resolution(640, 360)
                .bitrate(900)
                .fps(25)
                .audio_codec(Codec::Opus)
                .audio_bitrate(96)
                .overwrite(true)
                .name("n"),
        );
        let video = &made["outputs"][0]["video"];
        assert_eq!(
            (&video["codec"], &video["width"], &video["bitrate"]),
            (&"av1".into(), &640.into(), &900_000.into())
        );
        assert_eq!((&video["frame_rate"], &video["preset"]), (&"25/1".into(), &"p7".into()));
        let audio = &made["outputs"][0]["audio"];
        assert_eq!((&audio[0]["codec"], &audio[0]["bitrate"]), (&"opus".into(), &96_000.into()));
        assert_eq!((&made["source"]["pattern"]["tone"], &made["name"]), (&true.into(), &"n".into()));
        assert_eq!(made["source"]["pattern"]["frame_rate"], "25/1");
        assert_eq!(made["outputs"][0]["overwrite"], true);
        assert_eq!(json(&bars())["outputs"][0]["audio"], false);
    }

    #[test]
    fn rate_control_is_one_of_the_documents_modes() {
        let video = |encoder: EncoderConfig| json(&bars().encoder(encoder))["outputs"][0]["video"].clone();
        let config = EncoderConfig::default;
        let cbr = video(config().with_rate_control(RateControl::Cbr));
        assert_eq!((&cbr["cbr"], &cbr["bitrate"]), (&true.into(), &6_000_000.into()));
        let crf =
            video(config().with_rate_control(RateControl::Crf { crf: 21.5 }).with_max_bitrate_kbps(9000));
        assert_eq!((&crf["crf"], &crf["max_bitrate"]), (&21.5.into(), &9_000_000.into()));
        assert!(crf["bitrate"].is_null());
        let qp = video(config().with_rate_control(RateControl::Cqp { qp: 20 }));
        assert!(qp["qp"] == 20 && qp["bitrate"].is_null());
        let lossless = video(config().with_tuning(Tune::Lossless));
        assert!(lossless["lossless"] == true && lossless["bitrate"].is_null());
    }

    #[test]
    fn speed_is_the_clocks_for_live_outputs_and_endless_sources() {
        let realtime = |b: PipelineBuilder| json(&b)["source"]["realtime"] == true;
        let counted = PatternSpec { frames: Some(9), ..PatternSpec::default() };
        assert!(realtime(bars()));
        assert!(!realtime(bars().capture(CaptureConfig::pattern(counted.clone()))));
        let live = Output::file("o.mkv").and(Output::rtmp("rtmp://h/a/k"));
        assert!(realtime(bars().capture(CaptureConfig::pattern(counted)).output(live.clone())));
        assert!(!realtime(bars().capture(CaptureConfig::url("a.mp4").with_realtime(false)).output(live)));
    }

    #[test]
    fn the_usual_capture_is_the_screen_with_its_pointer() {
        let made = json(
            &PipelineBuilder::new()
                .capture(CaptureConfig::screen().with_fps(30))
                .output(Output::file("o.mkv")),
        );
        let screen = &made["source"]["screen"];
        assert_eq!((&screen["cursor"], &screen["frame_rate"]), (&true.into(), &"30/1".into()));
        assert_ne!(made["source"]["realtime"], true);
    }

    #[test]
    fn a_screen_is_captured_by_the_backend_that_was_chosen() {
        let screen = |capture| {
            let builder = PipelineBuilder::new().capture(capture).output(Output::Null);
            json(&builder)["source"]["screen"].take()
        };
        for (backend, name) in [(CaptureBackend::Portal, "portal"), (CaptureBackend::WlrExport, "wayland")] {
            assert_eq!(screen(CaptureConfig::screen().with_backend(backend))["backend"], name);
        }
        let node = screen(CaptureConfig::screen().with_node(42));
        assert_eq!((&node["backend"], &node["node"]), (&"pipewire".into(), &42.into()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_part() {
        for (builder, kind, field) in [
            (
                PipelineBuilder::new()
                    .capture(CaptureConfig::screen().with_backend(CaptureBackend::PipeWire))
                    .output(Output::Null),
                ErrorKind::Invalid,
                "capture.node: ",
            ),
            (PipelineBuilder::new(), ErrorKind::Invalid, "output: "),
            (bars().audio_source("mic"), ErrorKind::Unsupported, "audio.source: "),
            (bars().fps(0), ErrorKind::Invalid, "capture.framerate: "),
            (bars().bitrate(0), ErrorKind::Invalid, "encoder.bitrate_kbps: "),
            (bars().output(Output::multiple([])), ErrorKind::Invalid, "outputs: "),
            (bars().codec(Codec::Aac), ErrorKind::Invalid, "outputs[0].video.codec: "),
            (
                bars().capture(CaptureConfig::url("a").with_backend(CaptureBackend::Portal)),
                ErrorKind::Invalid,
                "capture.backend: ",
            ),
        ] {
            let e = builder.build().err().unwrap();
            assert_eq!(e.kind(), kind, "{e}");
            assert!(e.message().starts_with(field), "{e}");
        }
    }
}
