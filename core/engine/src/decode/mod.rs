//! Decoders: coded packets in, raw frames out, with every frame timed.

pub mod failover;
mod key_frames;
#[cfg(test)]
mod tests;

pub use key_frames::KeyFrames;

use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::packet::{MediaKind, Packet, StreamInfo};
use crate::stage::{Outlet, Stage};
use crate::time::{Rational, Rounding, TimeBase, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a stream is decoded.
#[derive(Clone, Debug, Default)]
pub struct DecodeOptions {
    /// Threads; 0 = as FFmpeg sees fit.
    pub threads: u32,
    /// The device to decode on; `None` = software. Frames stay there, if it decodes them: FFmpeg's decoders go on in
    /// software, with frames in host memory, when it does not take the stream.
    pub device: Option<Arc<av::HwDevice>>,
    /// Ask encoders for a key frame where there is one in the stream.
    pub keys: bool,
    /// Nothing that is over by then is wanted: pictures before it are decoded only where others refer to them.
    pub from: Option<Timestamp>,
    /// Where damage is counted; readable while the decoder runs elsewhere.
    pub damage: Arc<Damage>,
}

/// Failures that a decoder may report in a row without asking for the next packet; one that reports more never ends.
pub(crate) const FAILURES: u32 = 1000;

/// Whether a decoder's failure means that its packet is damaged and the next may be good. One that has decoded (`alive`)
/// takes damage for features that it does not have. Decoders in software also say "invalid argument", "error in an external
/// library" (PNG) and the like of damage; on a device (`hardware`) that is the device's failure.
pub(crate) fn is_damage(error: &av::Error, alive: bool, hardware: bool) -> bool {
    match error.kind() {
        av::Kind::InvalidData => true,
        av::Kind::Unsupported => alive,
        av::Kind::Invalid | av::Kind::Other => !hardware,
        _ => false,
    }
}

/// What a decoder found damaged so far.
#[derive(Debug, Default)]
pub struct Damage {
    /// Packets that could not be decoded.
    packets: AtomicU64,
    /// Frames that were decoded with errors in them, which the decoder painted over.
    frames: AtomicU64,
    /// Set while packets are decoded that another decoder was given before: it counted what is wrong with them.
    counted: AtomicBool,
}

impl Damage {
    fn add(&self, to: &AtomicU64) {
        if !self.counted.load(Ordering::Relaxed) {
            to.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Packets that could not be decoded, and frames that have errors in them.
    pub fn count(&self) -> u64 {
        self.packets.load(Ordering::Relaxed) + self.frames.load(Ordering::Relaxed)
    }

    /// In words; `None` when there was none.
    pub fn said(&self) -> Option<String> {
        let (packets, frames) = (self.packets.load(Ordering::Relaxed), self.frames.load(Ordering::Relaxed));
        match (packets, frames) {
            (0, 0) => None,
            (_, 0) => Some(format!("{packets} damaged packets were skipped")),
            (0, _) => Some(format!("{frames} frames have errors in them")),
            _ => Some(format!("{packets} damaged packets were skipped, {frames} frames have errors in them")),
        }
    }
}

/// Surfaces beyond those that the codec needs: frames that wait in links and encoders hold them.
fn surfaces(kind: &str) -> av::Pairs {
    let count = match kind {
        "vaapi" | "qsv" => crate::filter::device::POOL,
        // NVDEC takes 32 in all.
        "cuda" => 8,
        _ => return av::Pairs::new(),
    };
    vec![("extra_hw_frames".into(), count.to_string())]
}

/// Decodes one audio or video stream through FFmpeg. Damaged packets are skipped and counted.
pub struct AvDecoder {
    decoder: av::Decoder,
    kind: MediaKind,
    name: String,
    base: TimeBase,
    frame_duration: i64,
    next_pts: Option<i64>,
    on_device: bool,
    keys: bool,
    /// What the next frame is to say of its round.
    seam: Option<i64>,
    /// See [`DecodeOptions::from`]; in the stream's ticks.
    from: Option<i64>,
    damage: Arc<Damage>,
    /// Packets of its own that could not be decoded.
    bad: u64,
    frames: u64,
}

impl AvDecoder {
    /// A decoder for `stream`.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when this FFmpeg has no decoder for the codec; [`ErrorKind::Device`] when the device
    /// cannot be opened; [`ErrorKind::Format`] when the stream's parameters are damaged.
    pub fn new(stream: &StreamInfo, options: &DecodeOptions) -> Result<Self> {
        let native = stream.native.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("stream {} has no decoder parameters", stream.index))
        })?;
        let kind = options.device.as_ref().map(|d| d.kind());
        let name = match &kind {
            Some(kind) => Some(av::device_decoder(stream.codec.name(), kind).ok_or_else(|| {
                Error::unsupported(format!("this FFmpeg does not decode {} on {kind}", stream.codec))
            })?),
            None => None,
        };
        let decoder = av::Decoder::new(
            native,
            &av::DecoderOptions {
                name,
                // Threads of frames each hold surfaces and speed nothing up: the device decodes.
                threads: if kind.is_some() { 1 } else { options.threads },
                hw: options.device.as_deref(),
                time_base: (stream.time_base.num, stream.time_base.den),
                options: kind.as_deref().map(surfaces).unwrap_or_default(),
                ..av::DecoderOptions::default()
            },
        )
        .map_err(|e| Error::from(e).context(format!("stream {} ({})", stream.index, stream.codec)))?;
        let rate = stream.video.as_ref().and_then(|v| v.frame_rate);
        Ok(AvDecoder {
            decoder,
            kind: stream.kind,
            name: format!("stream {} ({})", stream.index, stream.codec),
            base: stream.time_base,
            frame_duration: rate.map_or(0, |r| rescale(1, r.inverse(), stream.time_base, Rounding::Nearest)),
            next_pts: None,
            on_device: kind.is_some(),
            seam: None,
            keys: options.keys && stream.kind == MediaKind::Video,
            from: options
                .from
                .filter(|_| stream.kind == MediaKind::Video)
                .map(|t| t.to(stream.time_base).ticks),
            damage: options.damage.clone(),
            bad: 0,
            frames: 0,
        })
    }

    /// Forgets everything inside, for a seek.
    pub fn flush(&mut self) {
        self.decoder.flush();
        self.next_pts = None;
    }

    /// Lets the decoder leave `packet`'s picture out where nobody is going to see it.
    fn skip_unseen(&mut self, packet: &av::Packet) {
        let Some(from) = self.from else { return };
        let over = packet.pts().is_some_and(|pts| packet.duration() > 0 && pts + packet.duration() <= from);
        // Whatever is decoded from `from` on is presented later.
        let behind = packet.dts().is_some_and(|dts| dts >= from);
        let skip = if over && !behind { av::Skip::NonReference } else { av::Skip::Nothing };
        self.decoder.set_skip(skip);
        if behind {
            self.from = None;
        }
    }

    fn is_damage(&self, error: &av::Error) -> bool {
        is_damage(error, self.frames > 0, self.on_device)
    }

    fn count_damaged(&mut self) {
        self.bad += 1;
        self.damage.add(&self.damage.packets);
    }

    fn receive(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let mut failures = 0;
        loop {
            match self.decoder.receive() {
                Ok(Some(media)) => {
                    let frame = self.timed(media)?;
                    out.emit(frame)?;
                }
                Ok(None) => return Ok(()),
                Err(e) if failures < FAILURES && self.is_damage(&e) => {
                    failures += 1;
                    self.count_damaged();
                }
                Err(e) => return Err(Error::from(e).context(&self.name)),
            }
        }
    }

    /// Emits what is still inside; the decoder takes nothing more until it is flushed.
    fn drain(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        match self.decoder.send(None) {
            Ok(()) => {}
            Err(e) if e.kind() == av::Kind::Eof => return Ok(()),
            // Frame threads report damage late, also here.
            Err(e) if self.is_damage(&e) => self.count_damaged(),
            Err(e) => return Err(Error::from(e).context(&self.name)),
        }
        self.receive(out)
    }

    fn timed(&mut self, media: av::Frame) -> Result<Frame> {
        let pts = media.pts();
        let key = self.keys && media.is_key();
        let mut frame = Frame::new(media, self.base);
        frame.force_key = key;
        frame.seam = self.seam.take();
        // Some containers (raw streams, AVI) have no timestamps: the frame follows the one before it.
        frame.pts = pts.or(self.next_pts).or(Some(0));
        if self.kind == MediaKind::Audio {
            let rate = frame.media().sample_rate().max(1) as i32;
            frame.duration =
                rescale(i64::from(frame.samples()), Rational::new(1, rate), self.base, Rounding::Nearest);
        } else if frame.duration <= 0 {
            frame.duration = self.frame_duration;
        }
        self.next_pts = frame.pts.map(|t| t + frame.duration);
        self.frames += 1;
        if frame.media().is_corrupt() {
            self.damage.add(&self.damage.frames);
        }
        Ok(frame)
    }
}

impl Stage<Packet, Frame> for AvDecoder {
    fn push(&mut self, packet: Packet, out: &mut dyn Outlet<Frame>) -> Result<()> {
        if let Some(seam) = packet.seam {
            // A round ends as the last one does, and begins as the first one did.
            self.drain(out)?;
            self.flush();
            self.seam = Some(seam);
        }
        let packet = packet.to_av(true)?;
        self.skip_unseen(&packet);
        // A decoder that is full gives frames first and then takes the packet.
        for _ in 0..2 {
            match self.decoder.send(Some(&packet)) {
                Ok(()) => break,
                Err(e) if e.kind() == av::Kind::Again => self.receive(out)?,
                Err(e) if self.is_damage(&e) => {
                    self.count_damaged();
                    break;
                }
                Err(e) if e.kind() == av::Kind::Eof => return Ok(()),
                Err(e) => return Err(Error::from(e).context(&self.name)),
            }
        }
        self.receive(out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.drain(out)?;
        if self.frames == 0 && self.bad > 0 {
            return Err(Error::new(
                ErrorKind::Format,
                format!("{}: nothing in it could be decoded", self.name),
            ));
        }
        Ok(())
    }
}
