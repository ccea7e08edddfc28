//! Raw media. Formats and colour are FFmpeg's and H.273's, re-exported so that no caller needs `ghoststream-sys`.

pub use ghoststream_sys::ffmpeg::{
    ChannelLayout, ChromaLocation, Colour, ColourRange, ContentLight, DolbyVision, HdrMetadata,
    MasteringDisplay, PixelFormat, SampleFormat,
};
