//! Pixel formats, sample formats and channel layouts, by FFmpeg's names.

/// A pixel format of the FFmpeg in use (`AVPixelFormat`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PixelFormat(pub(crate) i32);

/// An audio sample format of the FFmpeg in use (`AVSampleFormat`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SampleFormat(pub(crate) i32);

/// Channels of an audio stream and their places, in FFmpeg's notation (`mono`, `stereo`, `5.1(side)`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ChannelLayout {
    /// Number of channels.
    pub channels: u32,
    /// `av_channel_layout_describe` of the layout (for an unordered one: `N channels`).
    pub name: String,
}
