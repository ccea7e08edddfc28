//! Decides where frames are between decoder and encoder. Where both are on one device, frames stay there; what that
//! device cannot do sends them to the host once, and back once where the encoder takes frames on its device only.

use super::tracks::VideoTrack;
use crate::encode::presets::{self, Input};
use crate::encode::{format, nvenc, probe};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::colour;
use crate::filter::cuda;
use crate::filter::device::{self, OnDevice};
use crate::frame::{Colour, PixelFormat, VideoParams};
use crate::packet::{StreamInfo, VideoInfo};
use crate::spec::{Device, FilterSpec, PipelineSpec};
use ghoststream_sys::ffmpeg as av;

/// What a machine can do; the real one, or one that a test describes.
pub(crate) trait Machine {
    /// Whether the video encoder works.
    fn encodes(&self, encoder: &str) -> Result<()>;
    /// Whether a device of FFmpeg's type `kind` opens; the text says why not.
    fn opens(&self, kind: &str) -> std::result::Result<(), String>;
    /// Whether there is a decoder of `codec` for devices of type `kind`.
    fn decodes(&self, codec: &str, kind: &str) -> bool;
    /// Whether this FFmpeg has the filter.
    fn has_filter(&self, name: &str) -> bool;
    /// Whether our own kernels run on devices of type `kind`; the text says why not.
    fn kernels(&self, kind: &str) -> std::result::Result<(), String>;
    /// The NVIDIA GPUs and what their encoders can do; none where it is not known.
    fn nvidia(&self) -> Vec<nvenc::Gpu> {
        Vec::new()
    }
}

/// The machine that this runs on.
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn encodes(&self, encoder: &str) -> Result<()> {
        probe::probe(encoder)
    }

    fn opens(&self, kind: &str) -> std::result::Result<(), String> {
        av::HwDevice::create(kind, None, &[]).map(drop).map_err(|e| e.to_string())
    }

    fn decodes(&self, codec: &str, kind: &str) -> bool {
        av::device_decoder(codec, kind).is_some()
    }

    fn has_filter(&self, name: &str) -> bool {
        av::has_filter(name)
    }

    fn kernels(&self, kind: &str) -> std::result::Result<(), String> {
        if kind != "cuda" {
            return Err(format!("there are no kernels for {kind}"));
        }
        // One GPU on which they run is enough: the job goes there.
        let gpus = nvenc::gpus().map(|gpus| gpus.len() as u32).unwrap_or(1).max(1);
        let mut tried = (0..gpus).map(cuda::available);
        tried.by_ref().find(|tried| tried.is_ok()).unwrap_or_else(|| cuda::available(0))
    }

    fn nvidia(&self) -> Vec<nvenc::Gpu> {
        nvenc::gpus().unwrap_or_default()
    }
}

/// Where a track's frames are on their way to its encoder.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Placement {
    /// The device that they come from the decoder on; `None` = they come in host memory.
    pub from: Option<&'static str>,
    /// How the first of the track's stages run on that device; `None` for a stage that touches no pixels. The rest runs
    /// on the host.
    pub first: Vec<Option<OnDevice>>,
    /// What scales there; `None` = the host does, or nothing has to be done.
    pub scale: Option<OnDevice>,
    /// The pixel format that the encoder gets on its device.
    pub format: Option<PixelFormat>,
    /// Why frames go to host memory, if they come on a device and do.
    pub download: Option<String>,
    /// Whether that is after scaling, which the device does: what is copied is then as small as what is encoded.
    pub late: bool,
    /// The device that frames go to in the end, and why, if they are in host memory before.
    pub upload: Option<(&'static str, String)>,
}

impl Placement {
    /// Of a track whose encoder is on GPU `gpu`, while frames come on GPU `home`.
    pub fn on_another(from: Option<&'static str>, gpu: u32, home: u32) -> Placement {
        let why = format!("its encoder is on GPU {gpu}, and frames are on GPU {home}");
        Placement { from, download: Some(why), ..Placement::default() }
    }

    /// Whether frames never leave the device.
    pub fn stays(&self) -> bool {
        self.from.is_some() && self.download.is_none()
    }

    /// Whether frames go to host memory before anything else; the decoder's thread then does it once for all.
    pub fn begins_on_host(&self) -> bool {
        self.from.is_none() || (self.download.is_some() && !self.late && self.first.is_empty())
    }

    /// Whether frames are on the device until they have their size and format.
    pub fn scales_there(&self) -> bool {
        self.stays() || self.late
    }

    /// Whether some of it is done by our own kernels.
    pub fn uses_kernels(&self) -> bool {
        let ours = |stage: &Option<OnDevice>| matches!(stage, Some(OnDevice::Kernels));
        ours(&self.scale) || self.first.iter().any(ours)
    }

    /// Whether two tracks with equal filters can share them.
    pub fn shares(&self, other: &Placement) -> bool {
        self.from == other.from
            && self.first == other.first
            && self.stays() == other.stays()
            && self.late == other.late
    }

    /// The transfers in words, for warnings.
    pub fn transfers(&self) -> impl Iterator<Item = String> {
        let down = self.from.zip(self.download.as_ref());
        let down = down.map(|(device, why)| format!("frames are downloaded from {device}: {why}"));
        let up = self.upload.as_ref().map(|(device, why)| format!("frames are uploaded to {device}: {why}"));
        down.into_iter().chain(up)
    }
}

/// The device whose frames an encoder takes, and whether it takes no others.
fn encoder_device(encoder: &str) -> Option<(&'static str, bool)> {
    match presets::table(encoder).map(|t| t.input)? {
        Input::Host => None,
        Input::HostOr(device) => Some((device, false)),
        Input::Only(device) => Some((device, true)),
    }
}

/// The format that a device gives and takes for a host format; `None` where it has none that all of them have.
fn device_format(format: PixelFormat) -> Option<PixelFormat> {
    let d = format.descriptor()?;
    if d.is_rgb || d.has_alpha || (d.log2_chroma_w, d.log2_chroma_h) != (1, 1) {
        return None;
    }
    match d.depth {
        8 => Some(PixelFormat::nv12()),
        10 => Some(PixelFormat::p010()),
        _ => None,
    }
}

/// The 4:4:4 format that our kernels make for a host format, and NVENC takes.
fn whole_chroma(format: PixelFormat) -> Option<PixelFormat> {
    let d = format.descriptor()?;
    if d.is_rgb || d.has_alpha || (d.log2_chroma_w, d.log2_chroma_h) != (0, 0) || d.components != 3 {
        return None;
    }
    PixelFormat::from_name(if d.depth > 8 { "yuv444p16le" } else { "yuv444p" })
}

/// Where a stream that these tracks are encoded from is decoded, and why there.
///
/// # Errors
/// [`ErrorKind::Device`] or [`ErrorKind::Unsupported`] for a device that was asked for and does not do it, unless the
/// document allows a fallback.
pub(crate) fn decoder(
    spec: &PipelineSpec,
    stream: &StreamInfo,
    tracks: &[&VideoTrack],
    machine: &dyn Machine,
    fallbacks: &mut Vec<String>,
) -> Result<(Option<&'static str>, String)> {
    let codec = stream.codec.name();
    let kind = match spec.source.decode.device {
        Device::Software => return Ok((None, "asked for".into())),
        Device::Auto => return Ok(automatic(stream, tracks, machine)),
        device => device.ffmpeg_name().unwrap_or_default(),
    };
    let obstacle = match machine.opens(kind) {
        Err(why) => Error::new(ErrorKind::Device, format!("{kind}: {why}")),
        Ok(()) if !machine.decodes(codec, kind) => {
            Error::unsupported(format!("this FFmpeg does not decode {codec} on {kind}"))
        }
        Ok(()) => return Ok((Some(kind), "asked for".into())),
    };
    if !spec.fallback {
        return Err(obstacle.context("source.decode.device"));
    }
    let index = stream.index;
    fallbacks.push(format!("stream {index}: {kind} cannot decode here ({obstacle}); decoding in software"));
    Ok((None, format!("{kind} is not available")))
}

/// On the encoders' device, if all are on one and it decodes the codec; else in software.
fn automatic(
    stream: &StreamInfo,
    tracks: &[&VideoTrack],
    machine: &dyn Machine,
) -> (Option<&'static str>, String) {
    let mut kinds = tracks.iter().map(|t| encoder_device(&t.encoder.name).map(|(kind, _)| kind));
    let Some(Some(kind)) = kinds.next() else {
        return (None, "the encoder works on frames in host memory".into());
    };
    if kinds.any(|other| other != Some(kind)) {
        return (None, "the encoders are not all on one device".into());
    }
    let codec = stream.codec.name();
    let format = stream.video.as_ref().and_then(|v| v.format);
    if !machine.decodes(codec, kind) {
        return (None, format!("this FFmpeg does not decode {codec} on {kind}, the encoder's device"));
    }
    if let Some(format) = format.filter(|f| device_format(*f).is_none()) {
        return (None, format!("{kind}, the encoder's device, does not decode to {format}"));
    }
    match machine.opens(kind) {
        Ok(()) => (Some(kind), "on the encoder's device, where frames stay".into()),
        Err(why) => (None, format!("{kind}, the encoder's device, does not open for it: {why}")),
    }
}

/// Where the frames of a track are, when its decoder leaves them on `from` (`None`: in host memory).
pub(crate) fn place(
    track: &VideoTrack,
    source: &VideoInfo,
    from: Option<&'static str>,
    machine: &dyn Machine,
) -> Result<Placement> {
    let encoder = track.encoder.name.as_str();
    let own = encoder_device(encoder);
    let upload = || {
        own.filter(|(_, only)| *only).map(|(kind, _)| (kind, format!("{encoder} takes frames there only")))
    };
    let Some(kind) = from else { return Ok(Placement { upload: upload(), ..Placement::default() }) };
    let whole =
        |why: String| Placement { from, download: Some(why), upload: upload(), ..Placement::default() };
    let on_host = || format!("{encoder} takes frames in host memory");
    match own {
        // Our kernels make what is downloaded as small as it gets.
        None if kind == "cuda" && format::input_range(encoder).is_none() => {}
        None => return Ok(whole(on_host())),
        Some((other, _)) if other != kind => return Ok(whole(format!("{encoder} is on {other}"))),
        Some(_) => {}
    }
    let mut first = Vec::new();
    let mut now = State::of(source);
    for stage in stages(track, kind, &mut now, machine) {
        match stage {
            Ok(filter) => first.push(filter),
            // What only passes frames on is no reason to have been on the device.
            Err(_) if own.is_none() && first.iter().all(Option::is_none) => return Ok(whole(on_host())),
            Err(why) if first.iter().all(Option::is_none) => return Ok(whole(why)),
            Err(why) => {
                return Ok(Placement {
                    from,
                    first,
                    download: Some(why),
                    upload: upload(),
                    ..Placement::default()
                });
            }
        }
    }
    let format = format::input_format(encoder, &track.spec, source.format)?;
    match scale(track, &now, format, kind, machine) {
        Ok((None, _)) if own.is_none() && first.iter().all(Option::is_none) => Ok(whole(on_host())),
        // libavfilter's filters are for encoders that stay there.
        Ok((scale, _)) if own.is_none() && !matches!(scale, None | Some(OnDevice::Kernels)) => {
            Ok(whole(on_host()))
        }
        Ok((scale, format)) => {
            let late = own.is_none();
            let download = late.then(on_host);
            Ok(Placement { from, first, scale, format: Some(format), download, late, upload: None })
        }
        Err(_) if own.is_none() && first.iter().all(Option::is_none) => Ok(whole(on_host())),
        Err(why) if first.iter().all(Option::is_none) => Ok(whole(why)),
        Err(why) => {
            Ok(Placement { from, first, download: Some(why), upload: upload(), ..Placement::default() })
        }
    }
}

/// What frames on the device are, as far as it is known before the first.
struct State {
    format: Option<PixelFormat>,
    colour: Colour,
    height: u32,
}

impl State {
    fn of(source: &VideoInfo) -> State {
        let described = source.format.map(|format| VideoParams {
            width: source.width,
            height: source.height,
            format,
            colour: source.colour,
            sample_aspect: source.sample_aspect,
        });
        State {
            format: source.format.and_then(device_format),
            colour: described.map_or(source.colour, |v| colour::assumed(&v)),
            height: source.height,
        }
    }
}

/// How each of the track's stages before scaling runs on the device; why it does not.
fn stages(
    track: &VideoTrack,
    kind: &'static str,
    now: &mut State,
    machine: &dyn Machine,
) -> Vec<std::result::Result<Option<OnDevice>, String>> {
    let mut list = Vec::new();
    if track.turn.is_some() {
        let kernels = machine.kernels(kind).map(|()| Some(OnDevice::Kernels));
        list.push(kernels.map_err(|_| format!("rotation runs on the host, not on {kind}")));
    }
    for filter in &track.spec.filters {
        list.push(match filter {
            FilterSpec::Deinterlace(mode) => {
                let filter = device::deinterlacer(kind, *mode, &|name| machine.has_filter(name));
                filter.map(|f| Some(OnDevice::Filter(f)))
            }
            other if kind == "cuda" => cuda::filters(other, &now.colour)
                .and_then(|()| machine.kernels(kind))
                .map(|()| Some(OnDevice::Kernels)),
            other => Err(format!("{} runs on the host, not on {kind}", crate::filter::name(other))),
        });
        if matches!(filter, FilterSpec::ToneMap(_)) && now.colour.is_hdr() {
            now.format = now.format.map(|_| PixelFormat::nv12());
            now.colour = Colour { chroma: now.colour.chroma, ..Colour::BT709 };
        }
    }
    if track.spec.frame_rate.is_some() {
        // It drops and repeats whole frames, wherever they are.
        list.push(Ok(None));
    }
    list
}

/// How size, pixel format and colour are made on the device: by our own kernels where there are some.
fn scale(
    track: &VideoTrack,
    now: &State,
    wanted: PixelFormat,
    kind: &'static str,
    machine: &dyn Machine,
) -> std::result::Result<(Option<OnDevice>, PixelFormat), String> {
    let kernels = machine.kernels(kind);
    if let Some(colour) = &track.spec.colour {
        let on_host = || format!("colour is converted on the host, not on {kind}");
        kernels.as_ref().map_err(|_| on_host())?;
        let wanted = colour::from_spec(colour).map_err(|e| e.to_string())?;
        let to = colour::complete(Some(wanted), now.colour, PixelFormat::nv12(), now.height);
        cuda::converts(&now.colour, &to)?;
    }
    let to = device_format(wanted).or_else(|| kernels.as_ref().ok().and_then(|()| whole_chroma(wanted)));
    let to = to.ok_or_else(|| format!("{wanted} pictures are made on the host"))?;
    if now.format == Some(to) && !track.scaled && track.spec.colour.is_none() {
        return Ok((None, to));
    }
    let without = match kernels {
        Ok(()) => return Ok((Some(OnDevice::Kernels), to)),
        Err(why) => why,
    };
    let filter =
        device::scaler(kind, track.spec.scaler, &|name| machine.has_filter(name)).map_err(|why| {
            if kind == "cuda" { format!("{why}, and our kernels do not run: {without}") } else { why }
        })?;
    if now.format != Some(to) && !filter.converts {
        return Err(format!("{} does not make {to}", filter.name));
    }
    Ok((Some(OnDevice::Filter(filter)), to))
}

#[cfg(test)]
mod tests;
