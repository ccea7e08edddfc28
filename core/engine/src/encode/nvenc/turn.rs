//! Another preset in mid-stream: in the running session where the driver's interface allows it, else in a new one that
//! goes on where the old one ended.

use super::config::Config;
use super::failed;
use super::stage::NvencEncoder;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::packet::Packet;
use crate::spec::Preset;
use crate::stage::Outlet;
use bytes::Bytes;
use ghoststream_sys::nvenc as nv;
use std::collections::VecDeque;

/// What goes on from one session to the next.
pub(super) struct Again {
    /// The largest size that pictures may grow to.
    pub most: (u32, u32),
    /// B pictures in a row; `None` for what was asked for.
    pub b_frames: Option<u32>,
    /// B pictures in a row that the stream was described with.
    pub most_b: u32,
}

/// Changes of headers that are remembered: pictures of before the last ones are long out.
const CHANGES: usize = 8;

/// The stream's headers where they are not those that it was described with, by the time from which on.
#[derive(Default)]
pub(super) struct Headers(VecDeque<(i64, Bytes)>);

impl Headers {
    /// Those of a picture shown at `pts`; `None` for those that the stream was described with.
    pub fn at(&self, pts: i64) -> Option<&Bytes> {
        self.0.iter().rev().find(|(from, _)| pts >= *from).map(|(_, headers)| headers)
    }

    /// From `pts` on they are `headers`.
    pub fn set(&mut self, pts: i64, headers: Bytes) {
        if self.0.len() == CHANGES {
            self.0.pop_front();
        }
        self.0.push_back((pts, headers));
    }

    /// As [`Headers::set`], unless they stay what they were; `announced` is what the stream was described with.
    fn follow(&mut self, pts: i64, headers: Bytes, announced: &Bytes) {
        if headers != *self.0.back().map_or(announced, |(_, last)| last) {
            self.set(pts, headers);
        }
    }
}

/// The interface's number.
fn number(preset: Preset) -> u8 {
    preset as u8 + 1
}

impl NvencEncoder {
    /// Has the next key picture begin with `preset`.
    pub(super) fn control_preset(&mut self, preset: Preset) -> Result<()> {
        let Some(open) = &self.open else {
            self.config.spec.preset = Some(preset);
            return Ok(());
        };
        let (format, colour, size) = (open.host_format, open.params.colour, open.most);
        let before = self.config.spec.preset.replace(preset);
        let config = self
            .settings(format, colour)
            .and_then(|settings| Config::new(&self.codec, &settings, super::surface(format)?));
        self.config.spec.preset = before;
        let config = config?;
        if config.encode.preset != number(preset) {
            let decided = format!("video.options.preset: keeps the preset at p{}", config.encode.preset);
            return Err(Error::unsupported(decided));
        }
        config.check(Some(size), &open.capabilities, open.submitter.version(), &open.label)?;
        self.next_preset = Some(preset).filter(|p| before.unwrap_or(Preset::P4) != *p);
        Ok(())
    }

    /// Takes the preset that waits, before `frame`, which begins anew then. Whether it does.
    pub(super) fn turn(&mut self, frame: &Frame, pts: i64, out: &mut dyn Outlet<Packet>) -> Result<bool> {
        let Some(preset) = self.next_preset.take() else { return Ok(false) };
        let Some(open) = &mut self.open else { return Ok(false) };
        let turned = open.submitter.set_preset(number(preset), open.b_frames, open.most_b);
        let taken = match turned.map_err(failed)? {
            nv::Turn::Taken => {
                self.config.spec.preset = Some(preset);
                true
            }
            nv::Turn::Anew { b_frames } => self.reopen(preset, b_frames, frame, out)?,
        };
        if let (Some(open), Some(stream)) = (&mut self.open, &self.stream) {
            let headers = open.submitter.headers().map_err(failed)?;
            open.headers.follow(pts, headers.into(), &stream.extradata);
        }
        self.summarize();
        if taken {
            self.summary += &format!(", preset {preset:?} since a key frame");
        }
        Ok(true)
    }

    /// Goes on in a new session, once everything has come out of the old one. Whether it has the preset: where none opens
    /// with it, the next one is as the old one was.
    fn reopen(
        &mut self,
        preset: Preset,
        b_frames: Option<u32>,
        frame: &Frame,
        out: &mut dyn Outlet<Packet>,
    ) -> Result<bool> {
        self.drain(out)?;
        if (self.hooks.given_up)() {
            return Err(Error::cancelled());
        }
        let Some(mut old) = self.open.take() else { return Ok(false) };
        let (timing, headers) = (std::mem::take(&mut old.timing), std::mem::take(&mut old.headers));
        let (most, most_b, old_b) = (old.most, old.most_b, old.submitter.b_frames());
        // The driver counts it, and it holds memory.
        drop(old);
        let before = self.config.spec.preset.replace(preset);
        let (mut open, taken) = match self.open(frame, Some(&Again { most, b_frames, most_b })) {
            // Decode times go on where they were.
            Ok(open) if open.timing.depth() <= timing.depth() => (open, true),
            Err(e) if e.kind() == ErrorKind::Cancelled => return Err(e),
            other => {
                let why = match other {
                    Ok(_) => "it would put more pictures in another order".into(),
                    Err(e) => e.to_string(),
                };
                (self.hooks.tell)("control", format!("the preset stays as it was: {why}"));
                self.config.spec.preset = before;
                let again = Again { most, b_frames: Some(old_b), most_b };
                // It is what ran before, so that a refusal is the device's failure, after which another encoder may go on.
                let open = self.open(frame, Some(&again)).map_err(|e| match e.kind() {
                    ErrorKind::Unsupported | ErrorKind::Invalid => Error::with_source(
                        ErrorKind::Device,
                        format!("the session does not open again: {e}"),
                        e,
                    ),
                    _ => e,
                })?;
                (open, false)
            }
        };
        (open.timing, open.headers) = (timing, headers);
        self.open = Some(open);
        Ok(taken)
    }
}
