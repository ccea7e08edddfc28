//! One decoded stream of a reader.

use crate::decode::{FAILURES, is_damage};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::packet::{MediaKind, StreamInfo};
use crate::spec::Device;
use crate::time::{Rational, Rounding, TimeBase, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;
use std::collections::VecDeque;

/// More packets than any decoder holds back, threads included.
pub(super) const MAX_DELAY: usize = 64;

pub(super) struct Track {
    /// Index in the container.
    pub stream: usize,
    pub base: TimeBase,
    pub kind: MediaKind,
    decoder: av::Decoder,
    /// Whether a device decodes.
    hardware: bool,
    /// Decoded and not handed out.
    pub ready: VecDeque<Frame>,
    /// Drops what ends at or before this time.
    pub from: Option<i64>,
    /// After a seek: nothing before a key packet is of use.
    wait_key: bool,
    rate: Option<Rational>,
    /// Frames decoded since the beginning of the stream; times of streams without any follow from it.
    pub count: i64,
    next: Option<i64>,
    /// Whether packets come without presentation times. Frames then take the decode times in turn: the n-th frame shown
    /// has the n-th of them.
    pub untimed: bool,
    clock: VecDeque<i64>,
    /// Packets that could not be decoded, and whether anything ever could.
    pub damaged: u64,
    pub alive: bool,
    name: String,
}

impl Track {
    pub(super) fn new(info: &StreamInfo, threads: u32, device: Device) -> Result<Self> {
        let name = format!("stream {} ({})", info.index, info.codec);
        let params = info
            .native
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Internal, format!("{name} has no parameters")))?;
        let video = info.kind == MediaKind::Video;
        let hw = match device.ffmpeg_name().filter(|_| video) {
            Some(kind) => {
                let number = match kind {
                    "cuda" => crate::encode::nvenc::least_decoding().ok().map(|index| index.to_string()),
                    _ => None,
                };
                Some(av::HwDevice::create(kind, number.as_deref(), &[]).map_err(|e| {
                    Error::with_source(ErrorKind::Device, format!("source.decode.device: {kind}: {e}"), e)
                })?)
            }
            None => None,
        };
        let options = av::DecoderOptions {
            // FFmpeg's first decoder of a codec may be one that knows of no device (dav1d).
            name: hw.as_ref().and_then(|d| av::device_decoder(info.codec.name(), &d.kind())),
            threads: if video { threads } else { 1 },
            thread_type: if video && hw.is_none() { av::ThreadType::Frame } else { av::ThreadType::Auto },
            hw: hw.as_ref(),
            time_base: (info.time_base.num, info.time_base.den),
            ..av::DecoderOptions::default()
        };
        let decoder = av::Decoder::new(params, &options).context(|| &name)?;
        Ok(Track {
            stream: info.index,
            base: info.time_base,
            kind: info.kind,
            decoder,
            hardware: hw.is_some(),
            ready: VecDeque::new(),
            from: None,
            wait_key: false,
            rate: info.video.as_ref().and_then(|v| v.frame_rate),
            count: 0,
            next: None,
            untimed: false,
            clock: VecDeque::new(),
            damaged: 0,
            alive: false,
            name,
        })
    }

    /// Decodes a packet (or, with `None`, what is still inside) into `ready`.
    pub(super) fn feed(&mut self, packet: Option<&av::Packet>) -> Result<()> {
        if let Some(p) = packet {
            if self.wait_key && !p.is_key() {
                return Ok(());
            }
            self.wait_key = false;
            self.untimed |= self.kind == MediaKind::Video && p.pts().is_none();
            if let Some(dts) = p.dts().filter(|_| self.kind == MediaKind::Video && !p.data().is_empty()) {
                self.clock.push_back(dts);
                // Packets that gave no picture.
                if self.clock.len() > MAX_DELAY {
                    self.clock.pop_front();
                }
            }
        }
        match self.decoder.send(packet) {
            Ok(()) => {}
            Err(e) if e.kind() == av::Kind::Eof || is_damage(&e, self.alive, self.hardware) => {
                self.damaged += 1
            }
            Err(e) => return Err(Error::from(e).context(&self.name)),
        }
        let mut failures = 0;
        loop {
            match self.decoder.receive() {
                Ok(Some(media)) => {
                    let frame = self.timed(media)?;
                    self.alive = true;
                    if self.from.is_none_or(|from| frame.pts.is_none_or(|t| t + frame.duration.max(1) > from))
                    {
                        self.ready.push_back(frame);
                    }
                }
                Ok(None) => return Ok(()),
                Err(e) if failures < FAILURES && is_damage(&e, self.alive, self.hardware) => {
                    failures += 1;
                    self.damaged += 1;
                }
                Err(e) => return Err(Error::from(e).context(&self.name)),
            }
        }
    }

    fn timed(&mut self, media: av::Frame) -> Result<Frame> {
        let media = if media.is_hardware() { media.transfer_to_host()? } else { media };
        let guess = media.pts();
        let turn = self.clock.pop_front();
        let pts = if self.untimed { turn } else { guess };
        let mut frame = Frame::new(media, self.base);
        let ticks = |n: i64, rate: Rational| rescale(n, rate.inverse(), self.base, Rounding::Nearest);
        // A stream without times counts its frames; a frame without one follows the one before it.
        frame.pts = match (pts, self.next, self.rate) {
            (Some(t), _, _) => Some(t),
            (None, Some(next), _) if self.kind == MediaKind::Audio => Some(next),
            (None, _, Some(rate)) => Some(ticks(self.count, rate)),
            (None, next, None) => Some(next.unwrap_or(0)),
        };
        if self.kind == MediaKind::Audio {
            let rate = frame.media().sample_rate().max(1) as i32;
            frame.duration =
                rescale(i64::from(frame.samples()), Rational::new(1, rate), self.base, Rounding::Nearest);
        } else if frame.duration <= 0 {
            frame.duration = self.rate.map_or(0, |r| ticks(1, r));
        }
        self.next = frame.pts.map(|t| t + frame.duration);
        self.count += 1;
        Ok(frame)
    }

    /// Forgets everything inside, for a seek.
    pub(super) fn flush(&mut self) {
        self.decoder.flush();
        self.decoder.set_skip(av::Skip::Nothing);
        self.ready.clear();
        self.clock.clear();
        self.next = None;
        self.from = None;
        self.wait_key = self.kind == MediaKind::Video;
    }

    /// A new one in its place, for the beginning of the source: it knows nothing of what comes later (parameters that stand
    /// in the stream), so that it gives what was given the first time.
    pub(super) fn begin_again(&mut self, info: &StreamInfo, threads: u32, device: Device) -> Result<()> {
        let (untimed, damaged, alive) = (self.untimed, self.damaged, self.alive);
        *self = Track { untimed, damaged, alive, ..Track::new(info, threads, device)? };
        Ok(())
    }

    /// Whether frames that no other refers to may be left out.
    pub(super) fn skip(&mut self, skip: bool) {
        self.decoder.set_skip(if skip { av::Skip::NonReference } else { av::Skip::Nothing });
    }

    /// `seconds` in ticks, down, with a microsecond's grace: times that were printed or passed as floats still find the
    /// frame that they came from.
    pub(super) fn ticks(&self, seconds: f64) -> i64 {
        ((seconds + 1e-6) / self.base.as_f64()).floor() as i64
    }

    /// Puts a frame that was taken out back in front.
    pub(super) fn put_back(&mut self, frame: Option<Frame>) {
        if let Some(frame) = frame {
            self.ready.push_front(frame);
        }
    }

    pub(super) fn head(&self) -> Option<Timestamp> {
        self.ready.front().and_then(Frame::presentation)
    }
}
