//! Sans-IO packaging: packets in, bytes and playlists out. CMAF, MPEG-TS, HLS, DASH and WebVTT.
//!
//! This is the part of an origin that must be exact: what a playlist says about a segment is what the segment is,
//! down to the tick, and a segment made by a run that started in the middle of the source is the same one that a run
//! from the start would have made. The way through is
//!
//! 1. [`Segmenter`]: packets of aligned tracks in, initialisation and media segments ([`Segment`]) out, cut on one
//!    absolute [`Plan`]; it uses [`cmaf`] or [`ts`] to write them;
//! 2. [`hls`] and [`dash`]: models of playlists and manifests, filled from those events, and their serializers;
//! 3. [`webvtt`]: text subtitles for both.
//!
//! It deliberately is not a muxer library: it opens no file or socket, knows no clock or thread, demuxes nothing, and
//! writes only what players of HLS and DASH need. Progressive MP4, MKV and the like are written by FFmpeg elsewhere.

pub mod audience;
pub mod bandwidth;
pub mod bitstream;
mod boxes;
pub mod cmaf;
pub mod codecs;
pub mod dash;
mod fragmented;
mod fragments;
pub mod hls;
mod init;
mod lane;
pub mod language;
mod plan;
mod segmenter;
mod track;
pub mod ts;
pub mod webvtt;
mod whole;

pub use fragmented::{Fragment, FragmentedFile, Retimer, same_tracks};
pub(crate) use fragments::index_fragments;
pub use plan::{Plan, PlannedSegment};
pub use segmenter::{Container, Event, Lengths, Options, Part, Segment, Segmenter, TrackSpec};
pub use track::{Config, Track};
pub(crate) use whole::Whole;
