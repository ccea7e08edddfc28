//! Raw media: [`Frame`] is a picture or a run of samples, wherever its memory is. Formats and colour are FFmpeg's and
//! H.273's, re-exported so that no caller needs `ghoststream-sys`.

mod cuda;

pub use cuda::CudaPool;
pub use ghoststream_sys::ffmpeg::{
    ChannelLayout, ChromaLocation, Colour, ColourRange, ContentLight, DolbyVision, HdrMetadata,
    MasteringDisplay, PixelFormat, SampleFormat,
};
#[cfg(unix)]
pub use ghoststream_sys::ffmpeg::{DmaBuf, DmaBufPicture, DmaBufPlane, format_of_fourcc, fourcc_of};

use crate::time::{Rational, TimeBase, Timestamp};
use ghoststream_sys::ffmpeg as av;
use std::sync::Arc;

/// A raw picture or a run of audio samples.
///
/// Cloning is cheap and shares the memory; shared memory is immutable (a stage that must write copies first). Frames
/// may cross threads. `pts` and `duration` count in `base`.
#[derive(Clone, Debug)]
pub struct Frame {
    media: Arc<av::Frame>,
    /// Presentation time in `base`; `None` only between a source without timestamps and its decoder's clock.
    pub pts: Option<i64>,
    /// Length in `base`; 0 when unknown.
    pub duration: i64,
    /// Seconds per tick.
    pub base: TimeBase,
    /// Ask the encoder for a key frame here.
    pub force_key: bool,
    /// Of sound: here a repetition begins, whose first sample is at this time, in `base`.
    pub(crate) seam: Option<i64>,
    /// The source's number of the picture, where it gives one picture several times: frames of the same number that come
    /// from the source have the same samples.
    picture: Option<u64>,
}

/// Where a frame's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// The CPU's memory.
    Host,
    /// CUDA device memory.
    Cuda,
    /// A DMA-BUF.
    DmaBuf,
    /// Another device's surfaces, reachable only through that device.
    Device,
}

/// What a stream of pictures is made of; stages configure themselves from it and again when it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoParams {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pixel format.
    pub format: PixelFormat,
    /// Colour.
    pub colour: Colour,
    /// Sample aspect ratio, 1/1 when unknown.
    pub sample_aspect: Rational,
}

/// What a stream of samples is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioParams {
    /// Samples per second.
    pub sample_rate: u32,
    /// Channels.
    pub layout: ChannelLayout,
    /// Sample format.
    pub format: SampleFormat,
}

impl Frame {
    /// Takes FFmpeg's frame, whose own pts and duration count in `base`.
    pub fn new(media: av::Frame, base: TimeBase) -> Self {
        let (pts, duration) = (media.pts(), media.duration());
        Frame { pts, duration, media: Arc::new(media), base, force_key: false, seam: None, picture: None }
    }

    /// A picture over `planes` (bytes and the distance of rows in bytes), without copying them. `base` is for the times,
    /// which are set by field.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when the number of planes, a distance or a length does not fit format and size.
    pub fn wrap(
        format: PixelFormat,
        width: u32,
        height: u32,
        planes: Vec<(bytes::Bytes, usize)>,
        base: TimeBase,
    ) -> crate::Result<Self> {
        Ok(Frame::new(av::Frame::wrap_bytes(format, width, height, planes)?, base))
    }

    /// A picture in shared memory of a GPU or a camera, without copying it. The memory is given back, and `release` runs,
    /// with the last reference, on any thread, also when this call fails. `base` is for the times, which are set by field.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] when what is to be seen does not lie in the picture.
    #[cfg(unix)]
    pub fn wrap_dmabuf(
        picture: DmaBuf,
        release: Box<dyn FnOnce() + Send>,
        base: TimeBase,
    ) -> crate::Result<Self> {
        Ok(Frame::new(av::Frame::wrap_dmabuf(picture, release)?, base))
    }

    /// The FFmpeg frame underneath. Its own timestamps are stale once this frame was retimed.
    pub fn media(&self) -> &av::Frame {
        &self.media
    }

    /// Whether nobody else has this memory, so that it may be written to: neither another [`Frame`] nor FFmpeg.
    pub fn is_writable(&self) -> bool {
        if Arc::strong_count(&self.media) != 1 {
            return false;
        }
        // What the others did with the memory before they let it go is done.
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        self.media.is_writable()
    }

    /// The same, to be kept by whoever reads the memory later.
    pub(crate) fn shared_media(&self) -> &Arc<av::Frame> {
        &self.media
    }

    /// A second FFmpeg reference to the same samples that carries this frame's timestamps, for FFmpeg's own use.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Memory`].
    pub fn to_media(&self) -> crate::Result<av::Frame> {
        let mut media = self.media.try_clone()?;
        media.set_pts(self.pts);
        media.set_duration(self.duration);
        media.set_time_base((self.base.num, self.base.den));
        Ok(media)
    }

    /// `media` in this frame's place, with its times and wishes.
    pub(crate) fn with_media(&self, media: av::Frame) -> Frame {
        Frame { media: Arc::new(media), picture: None, ..self.clone() }
    }

    /// The same frame, as picture `number` of its source.
    pub(crate) fn numbered(self, number: u64) -> Frame {
        Frame { picture: Some(number), ..self }
    }

    /// The source's number of the picture, if nothing has changed it since.
    pub(crate) fn number(&self) -> Option<u64> {
        self.picture
    }

    /// Whether it is a picture.
    pub fn is_video(&self) -> bool {
        self.media.width() > 0
    }

    /// Where the samples are.
    pub fn memory(&self) -> Memory {
        if !self.media.is_hardware() {
            return Memory::Host;
        }
        match self.media.format().name() {
            "cuda" => Memory::Cuda,
            "drm_prime" => Memory::DmaBuf,
            _ => Memory::Device,
        }
    }

    /// What the picture is made of.
    pub fn video(&self) -> VideoParams {
        let (num, den) = self.media.sample_aspect();
        let sample_aspect = Rational::new(num, den);
        VideoParams {
            width: self.media.width(),
            height: self.media.height(),
            format: self.media.format(),
            colour: self.media.colour(),
            sample_aspect: if sample_aspect.is_positive() { sample_aspect } else { Rational::new(1, 1) },
        }
    }

    /// What the samples are made of.
    pub fn audio(&self) -> AudioParams {
        AudioParams {
            sample_rate: self.media.sample_rate(),
            layout: self.media.channel_layout(),
            format: self.media.sample_format(),
        }
    }

    /// Samples per channel; 0 for pictures.
    pub fn samples(&self) -> u32 {
        self.media.samples() as u32
    }

    /// Presentation time with its base.
    pub fn presentation(&self) -> Option<Timestamp> {
        self.pts.map(|t| Timestamp::new(t, self.base))
    }

    /// Presentation time of the frame's end, with its base.
    pub fn end(&self) -> Option<Timestamp> {
        self.pts.map(|t| Timestamp::new(t + self.duration, self.base))
    }

    /// The same frame with its times in another base.
    pub fn rebased(mut self, base: TimeBase) -> Self {
        if base != self.base {
            use crate::time::{Rounding, rescale};
            self.pts = self.pts.map(|t| rescale(t, self.base, base, Rounding::Nearest));
            self.duration = rescale(self.duration, self.base, base, Rounding::Nearest);
            self.base = base;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_writable_while_nobody_else_has_it() {
        let media = av::Frame::alloc_video(PixelFormat::yuv420p(), 32, 16, 0).unwrap();
        let frame = Frame::new(media, Rational::new(1, 25));
        assert!(frame.is_writable());
        let second = frame.clone();
        assert!(!frame.is_writable() && !second.is_writable());
        drop(second);
        assert!(frame.is_writable());
        let reference = frame.to_media().unwrap();
        assert!(!frame.is_writable());
        drop(reference);
        assert!(frame.is_writable());
    }
}
