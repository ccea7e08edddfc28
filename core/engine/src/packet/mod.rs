//! Coded media: [`Packet`] and the description of the elementary stream it belongs to.

mod codec;
mod convert;
mod from_av;
mod stream;

pub use codec::{Codec, MediaKind};
pub use stream::{AudioInfo, Disposition, FieldOrder, StreamInfo, VideoInfo, turned};

use crate::time::{TimeBase, Timestamp};
use bytes::Bytes;

/// One coded access unit (video), one or more coded audio frames, or one subtitle cue.
///
/// Cloning is cheap: the bytes are shared. Units: `pts`, `dts` and `duration` count in `base`. Ownership: the bytes
/// stay valid for as long as any clone lives, whatever happened to the demuxer or encoder that made them.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Payload in the format of the stream's extradata (length-prefixed with avcC/hvcC, Annex B without).
    pub data: Bytes,
    /// Presentation time in `base`; `None` where the container has none.
    pub pts: Option<i64>,
    /// Decode time in `base`; not above `pts`.
    pub dts: Option<i64>,
    /// Length in `base`; 0 when unknown.
    pub duration: i64,
    /// Seconds per tick.
    pub base: TimeBase,
    /// Whether decoding can start here.
    pub key: bool,
    /// Index into the source's (or output's) streams.
    pub stream: usize,
    /// Decoded for the sake of those that refer to it, but not shown.
    pub hidden: bool,
    /// Of sound that is decoded: here a repetition begins, whose first sample is at this time, in `base`.
    pub seam: Option<i64>,
    /// What else travels with the packet.
    pub side_data: Vec<SideData>,
    /// How the job's encoder coded the picture, where it says.
    pub coding: Option<Coding>,
}

/// How an encoder coded a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    /// From what it is predicted.
    pub kind: PictureType,
    /// The quantiser on average, in the codec's own scale; `None` where the encoder does not say.
    pub qp: Option<f32>,
    /// How long the GPU had it: between the marks in front of it and behind it in the streams that the encoder follows.
    /// `None` for encoders that do not work on one, or do not say.
    pub gpu_time: Option<std::time::Duration>,
}

/// From what a picture is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PictureType {
    /// The encoder does not say.
    Unknown,
    /// From nothing; a key frame is one of these.
    I,
    /// From pictures that are shown before it.
    P,
    /// From pictures before and behind it.
    B,
}

/// Data attached to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SideData {
    /// Replaces the stream's extradata from this packet on.
    NewExtradata(Bytes),
    /// Audio samples to drop at the start and end of what this packet decodes to.
    SkipSamples {
        /// Samples to drop from the front.
        start: u32,
        /// Samples to drop from the back.
        end: u32,
    },
    /// Of a WebVTT cue: where and how it is shown, as written behind its times (`line:0 align:start`).
    CueSettings(Bytes),
    /// Anything else, by FFmpeg's `AVPacketSideDataType` number, carried through a copy untouched.
    Ffmpeg {
        /// `AVPacketSideDataType` of the FFmpeg in use.
        kind: i32,
        /// The payload.
        data: Bytes,
    },
}

impl Packet {
    /// A key packet at `pts` = `dts` with `data`; set the rest by field.
    pub fn new(data: Bytes, pts: i64, duration: i64, base: TimeBase) -> Self {
        Packet {
            data,
            pts: Some(pts),
            dts: Some(pts),
            duration,
            base,
            key: true,
            stream: 0,
            hidden: false,
            seam: None,
            side_data: Vec::new(),
            coding: None,
        }
    }

    /// Presentation time with its base.
    pub fn presentation(&self) -> Option<Timestamp> {
        self.pts.map(|t| Timestamp::new(t, self.base))
    }

    /// Decode time with its base.
    pub fn decode(&self) -> Option<Timestamp> {
        self.dts.map(|t| Timestamp::new(t, self.base))
    }
}
