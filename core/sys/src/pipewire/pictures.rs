//! What a video node gives, in types that know nothing of PipeWire.

use crate::ffmpeg::{Frame, PixelFormat};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What is asked of a video node.
#[derive(Clone, Debug)]
pub struct VideoOptions {
    /// At most so many pictures a second, as a fraction.
    pub max_rate: (u32, u32),
    /// The formats that DMA-BUFs are taken in, best first; empty: only host memory. Where the node offers none of them the
    /// pictures come through host memory, which [`VideoFormat::dmabuf`] tells.
    pub dmabuf: Vec<DmaBufFormat>,
    /// The formats that DMA-BUFs are taken in where the node offers neither `dmabuf` nor host memory.
    pub last_resort: Vec<DmaBufFormat>,
    /// Ask for the pointer beside the picture ([`VideoFrame::cursor`]).
    pub cursor: bool,
    /// The stream's name for those who list PipeWire's nodes.
    pub name: String,
    /// Pictures that may wait to be taken; the oldest are dropped, and counted.
    pub queue: usize,
}

impl Default for VideoOptions {
    fn default() -> Self {
        VideoOptions {
            max_rate: (240, 1),
            dmabuf: Vec::new(),
            last_resort: Vec::new(),
            cursor: false,
            name: "GhostStream".into(),
            queue: 3,
        }
    }
}

/// A pixel format in which DMA-BUFs can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmaBufFormat {
    /// Pixel format.
    pub format: PixelFormat,
    /// DRM format modifiers, best first; 0 is linear.
    pub modifiers: Vec<u64>,
}

/// What was agreed with the node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VideoFormat {
    /// Pixels, of the whole buffer; a picture may be a part of it.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pixel format.
    pub format: PixelFormat,
    /// Pictures a second; `None` where they come when something changes.
    pub rate: Option<(u32, u32)>,
    /// The modifier of the DMA-BUFs; `None` for host memory.
    pub dmabuf: Option<u64>,
    /// Whether samples are of full range; `None` where the node does not say.
    pub full_range: Option<bool>,
}

/// What happened to a stream.
#[derive(Debug)]
pub enum VideoEvent {
    /// The format was agreed, or changed: what follows is of this one. Sizes may change at any time.
    Format(VideoFormat),
    /// A picture, or only the pointer.
    Frame(VideoFrame),
    /// The node gives nothing for now.
    Paused,
    /// The node gives pictures.
    Running,
}

/// What a camera of our own is like.
#[derive(Clone, Debug)]
pub struct CameraOptions {
    /// Its name for people.
    pub name: String,
    /// Its name for programs.
    pub node: String,
    /// `yuv420p`, `nv12` or `yuyv422`, in limited range.
    pub format: PixelFormat,
    /// The matrix is that of BT.709 and not of BT.601; primaries and transfer always are.
    pub bt709: bool,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Pictures a second, as a fraction.
    pub rate: (u32, u32),
}

/// One buffer of the node.
#[derive(Debug)]
pub struct VideoFrame {
    /// The picture; nothing where only the pointer moved.
    pub pixels: Pixels,
    /// How long ago it was shown, by the compositor's clock where it says so, else by its arrival.
    pub age: Duration,
    /// The node's number of the picture, where it counts them.
    pub sequence: Option<u64>,
    /// The pointer, if it was asked for and the node tells of it.
    pub cursor: Option<Cursor>,
}

/// The samples of a picture.
#[derive(Debug)]
pub enum Pixels {
    /// In host memory, copied once, cropped to what is to be seen.
    Host(Frame),
    /// In memory of a device.
    DmaBuf(DmaBuf),
    /// There is no new picture.
    None,
}

/// A picture in memory of a device. The node may use the memory again only when this is dropped.
#[derive(Debug)]
pub struct DmaBuf {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pixel format.
    pub format: PixelFormat,
    /// DRM format modifier.
    pub modifier: u64,
    /// The planes.
    pub planes: Vec<DmaBufPlane>,
    /// What is to be seen of it: left, top, width, height.
    pub crop: [u32; 4],
    /// Gives the buffer back when dropped.
    #[expect(dead_code, reason = "held for what its end does")]
    pub(super) lease: Lease,
}

/// A plane of a [`DmaBuf`].
#[derive(Debug)]
pub struct DmaBufPlane {
    /// The memory; one's own handle.
    pub fd: OwnedFd,
    /// Bytes from its beginning to the first row.
    pub offset: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
}

/// Calls when it is dropped.
pub(super) struct Lease(pub Option<Box<dyn FnOnce() + Send>>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lease")
    }
}

/// The pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Where its hot spot is in the buffer; outside of the picture when it is not to be seen.
    pub position: (i32, i32),
    /// Its hot spot within the bitmap.
    pub hotspot: (i32, i32),
    /// Its picture, when that is new; `Some` of no size hides it.
    pub bitmap: Option<Bitmap>,
}

impl Cursor {
    /// The position of a pointer that is not to be seen.
    pub const NOWHERE: (i32, i32) = (i32::MIN / 2, i32::MIN / 2);

    /// Takes in what is newer. What the newer one does not say stays.
    pub(super) fn follow(&mut self, newer: Cursor) {
        self.position = newer.position;
        if newer.bitmap.is_some() {
            (self.bitmap, self.hotspot) = (newer.bitmap, newer.hotspot);
        }
    }
}

/// A small picture: RGBA, eight bits each, alpha not multiplied in, rows without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Bitmap {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `width * height * 4` bytes.
    pub rgba: Vec<u8>,
}

impl std::fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bitmap({}x{})", self.width, self.height)
    }
}
