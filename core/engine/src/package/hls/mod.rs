//! HLS playlists (RFC 8216bis, low latency included): models and their text. Nothing here reads a clock or a file; the
//! caller fills the model and serves the text.

mod attributes;
mod media;
mod multivariant;

pub(in crate::package) use media::date_time;
pub use media::{
    ByteRange, LowLatency, Map, MediaPart, MediaPlaylist, MediaSegment, PlaylistKind, PreloadHint,
    RenditionReport,
};
pub use multivariant::{IFrameVariant, Multivariant, Rendition, RenditionKind, Variant, VideoRange};
