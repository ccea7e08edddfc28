//! The way to a device and back, and scaling there.

use super::colour::assumed;
use super::graph::{AvFilter, Recipe};
use super::scale::{Scale, ScaleTarget, aspect};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{Frame, PixelFormat};
use crate::spec::{Deinterlace, Scaler};
use crate::stage::{Outlet, Stage};
use ghoststream_sys::ffmpeg as av;
use std::sync::Arc;

/// Frames that devices with pools of a fixed size get: enough for what an encoder reorders and looks ahead, and for the
/// links between the threads.
pub const POOL: u32 = 32;

/// The size of a pool on a device of type `kind`; 0 where it grows as needed.
fn pool_size(kind: &str) -> u32 {
    if matches!(kind, "vaapi" | "qsv") { POOL } else { 0 }
}

/// A filter of libavfilter's that does the work on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceFilter {
    /// FFmpeg's device type.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its options, besides size and format.
    options: String,
    /// Whether it can change the pixel format too.
    pub converts: bool,
}

/// What does a stage's work on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnDevice {
    /// A filter of libavfilter's.
    Filter(DeviceFilter),
    /// Our own CUDA kernels ([`super::cuda`]).
    Kernels,
}

impl OnDevice {
    /// FFmpeg's type of the device.
    pub fn kind(&self) -> &'static str {
        match self {
            OnDevice::Filter(filter) => filter.kind,
            OnDevice::Kernels => "cuda",
        }
    }

    /// Its name, for plans.
    pub fn name(&self) -> &'static str {
        match self {
            OnDevice::Filter(filter) => filter.name,
            OnDevice::Kernels => "kernels",
        }
    }
}

/// The filter that scales on devices of type `kind`; `has` tells which filters there are. The default kernel stands for
/// the device's best; every other kernel is taken at its word.
///
/// # Errors
/// Why there is none, in words for the plan.
pub fn scaler(
    kind: &'static str,
    scaler: Scaler,
    has: &dyn Fn(&str) -> bool,
) -> std::result::Result<DeviceFilter, String> {
    let (name, options, converts) = match (kind, scaler) {
        ("cuda", Scaler::Nearest) => ("scale_cuda", "interp_algo=nearest", true),
        ("cuda", Scaler::Bilinear) => ("scale_cuda", "interp_algo=bilinear", true),
        ("cuda", Scaler::Bicubic) => ("scale_cuda", "interp_algo=bicubic", true),
        ("cuda", Scaler::Lanczos) => ("scale_cuda", "interp_algo=lanczos", true),
        ("vaapi", Scaler::Bicubic) => ("scale_vaapi", "mode=hq", true),
        // Frames must come out of the call that they went into.
        ("qsv", Scaler::Bicubic) => ("vpp_qsv", "async_depth=0", true),
        ("vulkan", Scaler::Nearest) => ("scale_vulkan", "scaler=nearest", false),
        ("vulkan", Scaler::Bicubic | Scaler::Bilinear) => ("scale_vulkan", "scaler=bilinear", false),
        ("videotoolbox", Scaler::Bicubic) => ("scale_vt", "", false),
        ("vaapi" | "qsv" | "vulkan" | "videotoolbox", _) => {
            return Err(format!("{kind} does not scale with the kernel asked for"));
        }
        _ => return Err(format!("nothing scales on {kind}")),
    };
    found(DeviceFilter { kind, name, options: options.into(), converts }, has)
}

/// The filter that deinterlaces on devices of type `kind`.
///
/// # Errors
/// As for [`scaler`].
pub fn deinterlacer(
    kind: &'static str,
    mode: Deinterlace,
    has: &dyn Fn(&str) -> bool,
) -> std::result::Result<DeviceFilter, String> {
    let double = mode == Deinterlace::DoubleRate;
    let all = mode == Deinterlace::All;
    let fields = format!(
        "mode={}:parity=auto:deint={}",
        if double { "send_field" } else { "send_frame" },
        if all { "all" } else { "interlaced" }
    );
    let (names, options): (&[&'static str], String) = match kind {
        "cuda" => (&["bwdif_cuda", "yadif_cuda"], fields),
        "vulkan" => (&["bwdif_vulkan"], fields),
        "videotoolbox" => (&["yadif_videotoolbox"], fields),
        "vaapi" => (
            &["deinterlace_vaapi"],
            format!("rate={}:auto={}", if double { "field" } else { "frame" }, u8::from(!all)),
        ),
        // Quick Sync's cannot be told to leave progressive frames alone, and doubles the rate as it likes.
        _ => return Err(format!("nothing deinterlaces on {kind} in this mode")),
    };
    let name = names.iter().copied().find(|n| has(n)).or(names.first().copied()).unwrap_or_default();
    found(DeviceFilter { kind, name, options, converts: false }, has)
}

fn found(filter: DeviceFilter, has: &dyn Fn(&str) -> bool) -> std::result::Result<DeviceFilter, String> {
    if has(filter.name) { Ok(filter) } else { Err(format!("this FFmpeg has no {}", filter.name)) }
}

impl DeviceFilter {
    /// Its part of a filter graph, with `first` before its own options.
    pub(super) fn text(&self, first: &str) -> String {
        let mut parts: Vec<&str> = [first, &self.options].into_iter().filter(|p| !p.is_empty()).collect();
        let pool = format!("extra_hw_frames={POOL}");
        if pool_size(self.kind) > 0 {
            parts.push(&pool);
        }
        format!("{}={}", self.name, parts.join(":"))
    }
}

/// Copies frames in host memory to a device; frames that are on such a device already pass. Output base: the input's.
pub struct Upload {
    device: Arc<av::HwDevice>,
    /// Frames of other formats are converted to these first.
    convert: Option<(PixelFormat, PixelFormat)>,
    converter: Option<(PixelFormat, u32, u32, Scale)>,
    pool: Option<(PixelFormat, u32, u32, av::HwFrames)>,
}

impl Upload {
    /// Frames onto `device`.
    pub fn new(device: Arc<av::HwDevice>) -> Self {
        Upload { device, convert: None, converter: None, pool: None }
    }

    /// As [`Upload::new`]; frames that are not NV12 or P010 become it, by their depth, as frames that the device decodes
    /// are.
    pub fn converting(device: Arc<av::HwDevice>) -> Self {
        Upload { convert: Some((PixelFormat::nv12(), PixelFormat::p010())), ..Upload::new(device) }
    }

    fn converted(&mut self, frame: Frame) -> Result<Frame> {
        let Some((eight, ten)) = self.convert else { return Ok(frame) };
        let (format, w, h) = (frame.media().format(), frame.media().width(), frame.media().height());
        let to = if format.descriptor().is_some_and(|d| d.depth > 8) { ten } else { eight };
        if format == to {
            return Ok(frame);
        }
        if !self.converter.as_ref().is_some_and(|(f, cw, ch, _)| (*f, *cw, *ch) == (format, w, h)) {
            let scale = Scale::new(ScaleTarget { format: Some(to), ..ScaleTarget::size(w, h) });
            self.converter = Some((format, w, h, scale));
        }
        let mut out = Vec::new();
        if let Some((.., scale)) = &mut self.converter {
            scale.push(frame, &mut out)?;
        }
        out.pop().ok_or_else(|| Error::new(ErrorKind::Internal, "a conversion kept a frame back"))
    }

    fn pool(&mut self, media: &av::Frame) -> Result<&av::HwFrames> {
        let (format, width, height) = (media.format(), media.width(), media.height());
        if !self.pool.as_ref().is_some_and(|(f, w, h, _)| (*f, *w, *h) == (format, width, height)) {
            let kind = self.device.kind();
            let takes = self.device.host_formats();
            if !takes.is_empty() && !takes.contains(&format) {
                let names: Vec<&str> = takes.iter().map(|f| f.name()).collect();
                let message = format!("{kind} takes {}, not {format}", names.join(", "));
                return Err(Error::new(ErrorKind::Device, message));
            }
            let pool = self.device.frames(format, width, height, pool_size(&kind))?;
            self.pool = Some((format, width, height, pool));
        }
        match &self.pool {
            Some((.., pool)) => Ok(pool),
            None => Err(Error::new(ErrorKind::Internal, "no pool of device frames")),
        }
    }
}

impl Stage<Frame, Frame> for Upload {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let uploaded = match frame.media().is_hardware() {
            true if frame.media().format() == self.device.format() => frame,
            true => return Err(Error::new(ErrorKind::Internal, "upload: the frame is on another device")),
            false => {
                let frame = self.converted(frame)?;
                let media = self.pool(frame.media()).map_err(|e| e.context("upload"))?;
                let media =
                    frame.media().transfer_to_device(media).map_err(|e| Error::from(e).context("upload"))?;
                frame.with_media(media)
            }
        };
        out.emit(uploaded)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

/// Copies frames on a device to host memory; frames that are there already pass. Output base: the input's.
pub struct Download;

impl Download {
    /// `frame` in host memory.
    ///
    /// # Errors
    /// [`ErrorKind::Device`] and what else the driver says.
    pub fn one(frame: Frame) -> Result<Frame> {
        if !frame.media().is_hardware() {
            return Ok(frame);
        }
        let media = frame.media().transfer_to_host().map_err(|e| Error::from(e).context("download"))?;
        Ok(frame.with_media(media))
    }
}

impl Stage<Frame, Frame> for Download {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        out.emit(Download::one(frame)?)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

/// As [`Scale`], for frames on a device: size and, where the filter can, pixel format. The target's
/// colour must be open: no device converts it the way the host does.
///
/// Output base: the input's.
pub struct DeviceScale {
    stage: AvFilter,
}

impl DeviceScale {
    /// A stage that makes every frame `target` by `filter`.
    pub fn new(target: ScaleTarget, filter: DeviceFilter) -> Self {
        let plan = move |params: &super::graph::Params, frame: &Frame| {
            let pool = frame
                .media()
                .hw_frames()
                .ok_or_else(|| Error::unsupported("frames in host memory; upload them first"))?;
            let mut source = params.video()?.clone();
            source.format = pool.host_format();
            let format = target.format.unwrap_or(source.format);
            let size = (target.width, target.height);
            if format == source.format && size == (source.width, source.height) {
                return Ok(Recipe::Pass);
            }
            if format != source.format && !filter.converts {
                let message = format!("{} does not make {format} of {}", filter.name, source.format);
                return Err(Error::unsupported(message));
            }
            let mut first = format!("w={}:h={}", size.0, size.1);
            if filter.converts {
                first += &format!(":format={format}");
            }
            let sar = aspect(&source, size.0, size.1);
            // As on the host: an untagged picture leaves with what it was taken for.
            let colour = assumed(&source);
            Ok(Recipe::Graph(
                filter.text(&first),
                Some(Box::new(move |media| {
                    media.set_colour(colour);
                    media.set_sample_aspect((sar.num, sar.den));
                    Ok(())
                })),
            ))
        };
        DeviceScale { stage: AvFilter::new("scale", Box::new(plan)).on_device() }
    }
}

impl Stage<Frame, Frame> for DeviceScale {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.stage.push(frame, out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.stage.finish(out)
    }
}
