//! The stages of a track: filters, scaling and transfers, where its [`Placement`](super::placement::Placement) has them.

use super::lost::{self, Safe, UploadOrKeep, or_host};
use super::tracks::VideoTrack;
use super::worker::Chain;
use crate::encode::{self, nvenc, presets};
use crate::error::{Error, ErrorKind, Result};
use crate::filter::device::OnDevice;
use crate::filter::{
    self, Cascade, Deinterlace, DeviceScale, FilterContext, FrameRate, KeepShape, Repace, Rotate, Scale,
    ScaleTarget, Sheet, Told, Upload,
};
use crate::frame::{Colour, ColourRange, Frame, Memory, PixelFormat};
use crate::job::shared::{Meter, Shared};
use crate::packet::StreamInfo;
use crate::spec::FilterSpec;
use crate::stage::{Outlet, Stage};
use ghoststream_sys::ffmpeg as av;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The devices that a job has open, one of each type, so that all of its stages share one.
#[derive(Default)]
pub(super) struct Devices {
    open: BTreeMap<&'static str, Arc<av::HwDevice>>,
    /// The GPU of the job's frames, once CUDA is used, and what its encoders will do there.
    claim: Option<nvenc::Claim>,
    /// Set where the job may go on without its device.
    safe: Option<Safe>,
}

impl Devices {
    /// Devices whose stages have twins on the host, which go on when one is lost.
    pub fn safe(safe: Safe) -> Self {
        Devices { safe: Some(safe), ..Devices::default() }
    }

    /// The device of FFmpeg's type `kind`, opened on first use.
    pub fn get(&mut self, kind: &'static str) -> Result<Arc<av::HwDevice>> {
        if let Some(device) = self.open.get(kind) {
            return Ok(device.clone());
        }
        let number = self.claim.as_ref().filter(|_| kind == "cuda").map(|claim| claim.index().to_string());
        let device = av::HwDevice::create(kind, number.as_deref(), &[])
            .map_err(|e| Error::with_source(ErrorKind::Device, format!("device {kind}: {e}"), e))?;
        Ok(self.open.entry(kind).or_insert(Arc::new(device)).clone())
    }

    /// Chooses the GPU for a job that decodes on one, with the formats that `tracks` come in.
    pub fn choose(&mut self, tracks: &[(&VideoTrack, Option<PixelFormat>)]) -> Result<()> {
        let on_cuda = |t: &VideoTrack| t.placement.from == Some("cuda");
        let mut wanted = Vec::new();
        let mut kernels = false;
        for (track, format) in tracks.iter().filter(|(t, _)| on_cuda(t)) {
            kernels |= track.placement.uses_kernels();
            // Other encoders do not care which GPU their frames were on.
            let direct = track.placement.stays() && presets::direct(&track.encoder.name).is_some();
            if let Some(codec) = track.spec.codec.as_ref().filter(|_| direct) {
                let size = (track.width, track.height);
                let (encoder, spec, rate) = (track.encoder.name.as_str(), &track.spec, track.frame_rate);
                wanted.push(nvenc::Wanted { codec, encoder, spec, format: *format, size, rate });
            }
        }
        match nvenc::claim(&wanted, kernels) {
            Ok(claim) => self.claim = Some(claim),
            Err(e) if e.kind() == ErrorKind::NotFound => return Err(e),
            // Whoever opens the device or a session says what is wrong, and what stands in.
            Err(e) => tracing::debug!(error = %e, "no GPU is chosen for the job"),
        }
        Ok(())
    }

    /// What [`Devices::choose`] chose.
    pub fn claim(&self) -> Option<nvenc::Claim> {
        self.claim.clone()
    }
}

/// The stages before scaling.
pub(super) fn before_scale(
    track: &VideoTrack,
    context: &FilterContext,
    devices: &mut Devices,
) -> Result<Chain> {
    let placement = &track.placement;
    let mut chain: Chain = Vec::new();
    if let Some(kind) = placement.from.filter(|_| !placement.begins_on_host()) {
        // Frames that its decoder could only make in host memory go there too; the decoder's thread says so.
        let device = devices.get(kind)?;
        chain.push(match &devices.safe {
            Some(safe) => Box::new(UploadOrKeep::new(device, safe.clone())),
            None => Box::new(Upload::converting(device)),
        });
    }
    let down = (!placement.scales_there() && !placement.begins_on_host()).then_some(placement.first.len());
    let mut at = 0;
    let safe = devices.safe.as_ref();
    let mut add = |chain: &mut Chain, stage: Box<dyn Stage<Frame, Frame>>| {
        if down == Some(at) {
            chain.push(lost::download(safe));
        }
        chain.push(stage);
        at += 1;
    };
    if let Some(turn) = track.turn {
        let on_device = matches!(placement.first.first(), Some(Some(OnDevice::Kernels)));
        let host = Box::new(Rotate::new(turn));
        let turn = match on_device {
            true => or_host(Box::new(filter::cuda::Place::turn(turn)), host, safe),
            false => host,
        };
        add(&mut chain, turn);
    }
    let named = |i: usize, e: Error| e.at(format!("video.filters[{i}]"));
    let offset = usize::from(track.turn.is_some());
    for (i, spec) in track.spec.filters.iter().enumerate() {
        let host = filter::build(spec, context).map_err(|e| named(i, e))?;
        let stage = match (spec, placement.first.get(i + offset)) {
            (FilterSpec::Deinterlace(mode), Some(Some(OnDevice::Filter(filter)))) => {
                or_host(Box::new(Deinterlace::on_device(*mode, filter)), host, safe)
            }
            (spec, Some(Some(OnDevice::Kernels))) => {
                or_host(filter::cuda::build(spec, context.hdr).map_err(|e| named(i, e))?, host, safe)
            }
            _ => host,
        };
        add(&mut chain, stage);
    }
    if let Some(rate) = track.spec.frame_rate {
        add(&mut chain, Box::new(FrameRate::new(rate.0)?));
    }
    if down == Some(at) {
        chain.push(lost::download(safe));
    }
    if !placement.scales_there() {
        chain.push(Box::new(KeepShape::new()));
    }
    Ok(chain)
}

/// What scales the track's frames to `target`, where they are then.
pub(super) fn scaler(
    track: &VideoTrack,
    target: ScaleTarget,
    devices: &Devices,
) -> Box<dyn Stage<Frame, Frame>> {
    let safe = devices.safe.as_ref();
    let host = Box::new(Scale::new(target.clone()));
    match (track.placement.scales_there(), &track.placement.scale) {
        (true, Some(OnDevice::Filter(filter))) => {
            or_host(Box::new(DeviceScale::new(target, filter.clone())), host, safe)
        }
        (true, Some(OnDevice::Kernels)) => or_host(Box::new(filter::cuda::Scale::new(target)), host, safe),
        (true, None) => Box::new(Keep),
        (false, _) => host,
    }
}

/// What makes the frames of several tracks that differ in size only: on a GPU by our kernels in one pass over each
/// picture, elsewhere each from the next larger one.
pub(super) fn scalers(
    tracks: &[&VideoTrack],
    targets: Vec<ScaleTarget>,
    devices: &Devices,
) -> Result<Box<dyn Stage<Frame, (usize, Frame)>>> {
    let scales = targets.clone();
    let target = |i: usize, from: Option<usize>| {
        let again = from.is_some_and(|from: usize| tracks[from].scaled);
        ScaleTarget { again, ..scales[i].clone() }
    };
    let by_kernels = |t: &&VideoTrack| {
        t.placement.scales_there() && matches!(t.placement.scale, None | Some(OnDevice::Kernels))
    };
    if tracks.iter().all(by_kernels) && tracks.iter().any(|t| t.placement.scale.is_some()) {
        let ladder = Box::new(filter::cuda::Ladder::new(targets.clone()));
        let host = Cascade::new(targets, |i, from| Box::new(Scale::new(target(i, from))))?;
        return Ok(or_host(ladder, Box::new(host), devices.safe.as_ref()));
    }
    Ok(Box::new(Cascade::new(targets, |i, from| scaler(tracks[i], target(i, from), devices))?))
}

/// The stages between scaling and the encoder. `paced`: frames can be left out and repeated. `told`: of what is put on sheets.
pub(super) fn after_scale(
    track: &VideoTrack,
    source: &StreamInfo,
    devices: &mut Devices,
    paced: bool,
    told: Told,
) -> Result<Chain> {
    let placement = &track.placement;
    let mut chain: Chain = Vec::new();
    if paced {
        // What is left out need not be brought anywhere.
        chain.push(Box::new(Repace::new()));
    }
    if placement.late {
        chain.push(lost::download(devices.safe.as_ref()));
        chain.push(Box::new(Scale::new(host_target(track, source, None)?)));
    }
    if let Some(tiles) = &track.tiles {
        chain.push(Box::new(Sheet::new(tiles.columns, tiles.rows, told)));
    }
    if placement.late {
        return Ok(chain);
    }
    match &placement.upload {
        Some((kind, _)) => chain.push(Box::new(Upload::new(devices.get(kind)?))),
        // Untouched frames are the decoder's, which has few of them.
        None if placement.stays()
            && placement.scale.is_none()
            && presets::direct(&track.encoder.name).is_some()
            && nvenc::holds_many(&track.spec) =>
        {
            let detach = nvenc::Detach::default();
            // Whoever reads what cannot be copied says so.
            chain.push(Box::new(if devices.safe.is_some() { detach.or_pass() } else { detach }));
        }
        None => {}
    }
    Ok(chain)
}

/// What the track's frames are to become.
pub(super) fn scale_target(track: &VideoTrack, source: &StreamInfo) -> Result<ScaleTarget> {
    let size = ScaleTarget { scaler: track.spec.scaler, ..ScaleTarget::size(track.width, track.height) };
    let colour = track.spec.colour.as_ref().map(filter::colour::from_spec).transpose()?;
    if track.placement.scales_there() {
        return Ok(ScaleTarget { format: track.placement.format, colour, ..size });
    }
    host_target(track, source, colour)
}

/// What the track's encoder takes, in host memory, of pictures that become `colour`.
fn host_target(track: &VideoTrack, source: &StreamInfo, mut colour: Option<Colour>) -> Result<ScaleTarget> {
    let size = ScaleTarget { scaler: track.spec.scaler, ..ScaleTarget::size(track.width, track.height) };
    let video = source.video.as_ref();
    let format = video.and_then(|v| v.format);
    let mut chosen = encode::format::input_format(&track.encoder.name, &track.spec, format)?;
    let untouched = video.is_some_and(|v| (v.width, v.height) == (track.width, track.height))
        && track.spec.filters.is_empty()
        && track.spec.pixel_format.as_deref().is_none_or(|name| format.is_some_and(|f| f.name() == name))
        && track.turn.is_none();
    if let Some(format) = format.filter(|_| untouched) {
        chosen = encode::format::untouched(&track.encoder.name, chosen, format);
    }
    if let Some(range) = encode::format::input_range(&track.encoder.name) {
        let colour = colour.get_or_insert_default();
        if colour.range == ColourRange::Unspecified {
            colour.range = range;
        }
    }
    Ok(ScaleTarget { format: Some(chosen), colour, ..size })
}

/// Hands frames on.
pub(super) struct Keep;

impl Stage<Frame, Frame> for Keep {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        out.emit(frame)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}

/// What decodes where a device does not, in a decoder's statistics.
pub(super) const SOFTWARE: &str = "software";

/// Watches that a decoder decodes on its device: FFmpeg's go on in software when the device does not take the stream.
pub(super) struct Expect {
    pub kind: &'static str,
    /// Whether software may do it, with a warning.
    pub fallback: bool,
    /// The stream, for messages.
    pub label: String,
    pub shared: Arc<Shared>,
    /// Of the decoder: what decodes instead is noted there, by whoever tells it.
    pub meter: Arc<Meter>,
}

impl Stage<Frame, Frame> for Expect {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if frame.memory() == Memory::Host && self.meter.instead.get().is_none() {
            let message = format!("{}: {} does not decode this stream", self.label, self.kind);
            if !self.fallback {
                return Err(Error::new(ErrorKind::Device, message));
            }
            let _told_by_nobody_else = self.meter.instead.set(SOFTWARE);
            self.shared.warn("fallback", format!("{message}; decoding in software"));
        }
        out.emit(frame)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Frame>) -> Result<()> {
        Ok(())
    }
}
