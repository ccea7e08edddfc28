//! The live origin. One waist: an ingest publishes a [`Stream`] of engine packets, readers subscribe to it; each protocol
//! is one file in, one file out, and none of them knows another.
//!
//! - [`stream`]: the waist: tracks, packets, readers with queues of their own, the packets since the last key frame;
//! - [`registry`]: streams by name, who may publish them, and what is told of them;
//! - [`timeline`]: the publishers' clocks brought onto the stream's one;
//! - [`describe`]: descriptions of tracks from their parameter sets;
//! - [`keys`]: who may publish and read, and [`hooks`], who is told of it;
//! - [`rtmp`]: publishers and readers by RTMP, and [`rtsp`], by RTSP, whose [`connections`] are told of;
//! - [`srt`]: publishers and readers by SRT;
//! - [`origin`]: a stream as HLS and DASH;
//! - [`pull`]: what this server fetches or makes itself;
//! - [`transcode`]: a ladder, or what browsers take, made of a stream;
//! - [`push`]: a stream sent on to an address or to files;
//! - [`recordings`]: what was recorded, played by time;
//! - [`webrtc`]: WHIP and WHEP;
//! - [`upload`]: HLS and DASH put into an object store;
//! - [`streams`]: streams that clients ask for, and [`rest`], how they do;
//! - [`overview`] and [`thumbnail`]: what there is to watch, and [`sessions`], how well it goes;
//! - [`service`]: all of it together.

pub mod connections;
pub mod describe;
mod guard;
pub mod hooks;
pub mod keys;
mod metrics;
pub mod origin;
pub mod overview;
pub mod pull;
pub mod push;
pub mod recordings;
pub mod registry;
pub mod rest;
pub mod rtmp;
pub mod rtsp;
pub mod service;
pub mod sessions;
mod shown_key;
pub mod srt;
pub mod stream;
pub mod streams;
pub mod thumbnail;
pub mod timeline;
pub mod transcode;
pub mod upload;
mod usage;
pub mod webrtc;

pub use connections::{Connection, Connections};
pub use origin::{Origin, OriginOptions, OriginStats, Origins};
pub use pull::{Pull, PullSource, PullSpec};
pub use push::{Push, PushTarget, Recording};
pub use recordings::{RecordingRules, Recordings};
pub use registry::{Live, LiveEvent, Publication, Publisher, Refused, Visit, Watching};
pub use service::LiveService;
pub use srt::{Srt, SrtOptions};
pub use stream::{Item, Reader, Start, Stream, StreamStats, TrackStats, Tracks};
pub use streams::{StreamRequest, StreamState, StreamView, Streams};
pub use transcode::{Transcode, TranscodeSpec};
pub use upload::{UploadOptions, UploadStats, Uploads};
