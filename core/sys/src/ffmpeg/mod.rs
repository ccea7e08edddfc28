//! FFmpeg (libavformat, libavcodec, libavfilter, libswscale, libswresample, libavutil), 5.1 to 8.x and newer.

mod colour;
mod formats;
mod parameters;

pub use colour::{
    ChromaLocation, Colour, ColourRange, ContentLight, DolbyVision, HdrMetadata, MasteringDisplay,
};
pub use formats::{ChannelLayout, PixelFormat, SampleFormat};
pub use parameters::CodecParameters;
