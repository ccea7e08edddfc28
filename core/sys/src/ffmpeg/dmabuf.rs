//! Pictures in DMA-BUFs: memory of a GPU or a camera that is handed from process to process by descriptors.

use super::error::{Error, Result, check};
use super::frame::run_release;
use super::{Frame, PixelFormat, raw};
use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

type Release = Box<dyn FnOnce() + Send>;

/// `DRM_FORMAT_MOD_LINEAR`: rows lie one behind the other.
const LINEAR: u64 = 0;

/// A picture in shared memory, for [`Frame::wrap_dmabuf`].
#[derive(Debug)]
pub struct DmaBuf {
    /// DRM's four letters for the pixel format, see [`fourcc_of`].
    pub fourcc: u32,
    /// DRM's number for how the pixels are arranged; 0: row by row.
    pub modifier: u64,
    /// Pixels of the whole buffer.
    pub width: u32,
    /// Pixels of the whole buffer.
    pub height: u32,
    /// What is to be seen of it: left, top, width, height, in pixels.
    pub crop: [u32; 4],
    /// One for each plane of the format and of the modifier, at most four.
    pub planes: Vec<DmaBufPlane>,
}

/// A plane of a [`DmaBuf`].
#[derive(Debug)]
pub struct DmaBufPlane {
    /// The memory.
    pub fd: OwnedFd,
    /// Bytes from its beginning to the first row.
    pub offset: u32,
    /// Bytes from one row to the next.
    pub pitch: u32,
}

/// What a frame in shared memory lies in, borrowed from the frame.
#[derive(Clone, Debug)]
pub struct DmaBufPicture<'a> {
    /// DRM's four letters for the pixel format.
    pub fourcc: u32,
    /// DRM's number for how the pixels are arranged.
    pub modifier: u64,
    /// Pixels of the whole buffer.
    pub width: u32,
    /// Pixels of the whole buffer.
    pub height: u32,
    /// What is to be seen of it: left, top, width, height, in pixels.
    pub crop: [u32; 4],
    /// Descriptor, offset and pitch of each plane.
    pub planes: Vec<(BorrowedFd<'a>, u32, u32)>,
}

/// DRM's names are of the bits in a little-endian word, FFmpeg's of the bytes in memory.
const FORMATS: &[(&[u8; 4], &str)] = &[
    (b"XR24", "bgr0"),
    (b"AR24", "bgra"),
    (b"XB24", "rgb0"),
    (b"AB24", "rgba"),
    (b"RX24", "0bgr"),
    (b"RA24", "abgr"),
    (b"BX24", "0rgb"),
    (b"BA24", "argb"),
    (b"RG24", "bgr24"),
    (b"BG24", "rgb24"),
    (b"XR30", "x2rgb10le"),
    (b"XB30", "x2bgr10le"),
    (b"NV12", "nv12"),
    (b"P010", "p010le"),
    (b"YU12", "yuv420p"),
    (b"YUYV", "yuyv422"),
    (b"UYVY", "uyvy422"),
];

/// DRM's four letters for a pixel format, as a number; `None` for one that has none.
pub fn fourcc_of(format: PixelFormat) -> Option<u32> {
    FORMATS.iter().find(|(_, name)| *name == format.name()).map(|(code, _)| u32::from_le_bytes(**code))
}

/// The pixel format that DRM's four letters stand for; `None` for one that FFmpeg has no name for.
pub fn format_of_fourcc(fourcc: u32) -> Option<PixelFormat> {
    let letters = fourcc.to_le_bytes();
    let (_, name) = FORMATS.iter().find(|(code, _)| **code == letters)?;
    PixelFormat::from_name(name)
}

impl Frame {
    /// A picture over shared memory (FFmpeg's `drm_prime`), as large as what is to be seen of it. It keeps the descriptors;
    /// they are closed, and `release` runs, once, on any thread, when the last reference is gone, also when this call
    /// fails.
    ///
    /// # Errors
    /// `Invalid` for no or too many planes, or for a part that does not lie in the picture.
    pub fn wrap_dmabuf(picture: DmaBuf, release: Release) -> Result<Frame> {
        let mut d = raw::Dmabuf {
            modifier: picture.modifier,
            fourcc: picture.fourcc,
            planes: picture.planes.len() as i32,
            ..raw::Dmabuf::default()
        };
        let [left, top, width, height] = picture.crop;
        let inside = |from: u32, len: u32, all: u32| {
            len > 0 && from.checked_add(len).is_some_and(|end| end <= all) && all <= 1 << 16
        };
        let fits = inside(left, width, picture.width) && inside(top, height, picture.height);
        if !fits || !(1..=4).contains(&picture.planes.len()) {
            release();
            return Err(Error::invalid(format!(
                "a DMA-BUF of {}x{} in {} planes, of which {width}x{height} at {left},{top} is shown",
                picture.width,
                picture.height,
                picture.planes.len()
            )));
        }
        (d.width, d.height) = (picture.width as i32, picture.height as i32);
        (d.left, d.top) = (left as i32, top as i32);
        for (i, plane) in picture.planes.iter().enumerate() {
            d.fd[i] = plane.fd.as_raw_fd();
            d.size[i] = length(plane.fd.as_raw_fd());
            (d.offset[i], d.pitch[i]) = (plane.offset, plane.pitch);
        }
        let planes = picture.planes;
        let owner: Release = Box::new(move || {
            drop(planes);
            release();
        });
        let opaque = Box::into_raw(Box::new(owner)).cast::<c_void>();
        let ready = Frame::empty().and_then(|frame| {
            // SAFETY: a blank frame; the descriptors live until `run_release` drops `opaque`.
            let code = unsafe {
                raw::gsav_frame_dmabuf_set(
                    frame.as_ptr(),
                    &d,
                    width as c_int,
                    height as c_int,
                    run_release,
                    opaque,
                )
            };
            check(code, "wrap a DMA-BUF")?;
            Ok(frame)
        });
        if ready.is_err() {
            // SAFETY: only a successful call takes the box over.
            unsafe { run_release(opaque, std::ptr::null_mut()) };
        }
        ready
    }

    /// What a frame in shared memory lies in; `None` for any other frame, and for one whose planes are pictures of their
    /// own.
    pub fn dmabuf(&self) -> Option<DmaBufPicture<'_>> {
        let mut d = raw::Dmabuf::default();
        // SAFETY: a live frame; fills `d`.
        if unsafe { raw::gsav_frame_dmabuf_get(self.as_ptr(), &mut d) } < 0 {
            return None;
        }
        let planes = (0..d.planes as usize).map(|i| {
            // SAFETY: the descriptors are open for as long as the frame lives.
            (unsafe { BorrowedFd::borrow_raw(d.fd[i]) }, d.offset[i], d.pitch[i])
        });
        Some(DmaBufPicture {
            fourcc: d.fourcc,
            modifier: d.modifier,
            width: d.width as u32,
            height: d.height as u32,
            crop: [d.left as u32, d.top as u32, self.width(), self.height()],
            planes: planes.collect(),
        })
    }

    /// A copy in host memory of a picture in shared memory whose pixels lie row by row, read by the CPU, with the same
    /// properties.
    ///
    /// # Errors
    /// `Invalid` for a frame that is not in shared memory; `Unsupported` for another arrangement or format, and for memory
    /// that whoever shares it could cut off; what the system says.
    pub fn read_dmabuf(&self) -> Result<Frame> {
        let picture = self.dmabuf().ok_or_else(|| Error::invalid("a frame that is in no DMA-BUF"))?;
        let unsupported = |what: String| Error::new(-libc::ENOSYS, what);
        let format = format_of_fourcc(picture.fourcc)
            .ok_or_else(|| unsupported(format!("read a DMA-BUF of the format {:#x}", picture.fourcc)))?;
        if picture.modifier != LINEAR {
            let message = format!("read a DMA-BUF of {format} with the modifier {:#x}", picture.modifier);
            return Err(unsupported(message));
        }
        let mut copy = Frame::alloc_video(format, self.width(), self.height(), 0)?;
        if copy.plane_count() != picture.planes.len() {
            return Err(Error::invalid(format!("a DMA-BUF of {format} in {} planes", picture.planes.len())));
        }
        for (i, (fd, offset, pitch)) in picture.planes.iter().enumerate() {
            let (rows, bytes, to) = (copy.plane_height(i), copy.row_bytes(i), copy.stride(i));
            let (skipped, left) = start(format, &picture, i)?;
            let begin = *offset as usize + skipped * *pitch as usize + left;
            let end = begin + (rows - 1) * *pitch as usize + bytes;
            let memory = Mapped::new(*fd, end)?;
            let from = memory.bytes().get(begin..end).unwrap_or(&[]);
            let rows = from.chunks(*pitch as usize);
            let Some(plane) = copy.plane_mut(i) else { continue };
            for (from, to) in rows.zip(plane.chunks_mut(to)) {
                to[..bytes].copy_from_slice(&from[..bytes]);
            }
        }
        copy.copy_props(self)?;
        Ok(copy)
    }
}

/// Rows and bytes to the part of a plane that is to be seen.
fn start(format: PixelFormat, picture: &DmaBufPicture<'_>, plane: usize) -> Result<(usize, usize)> {
    let [left, top, ..] = picture.crop;
    let wrong = || Error::invalid(format!("plane {plane} of a DMA-BUF of {format}"));
    let part = |width: u32, height: u32| match (width, height) {
        (0, _) | (_, 0) => Ok((0, 0)),
        _ => format.plane_layout(width, height, plane).ok_or_else(wrong),
    };
    let (rows, _) = part(1, top)?;
    let (_, bytes) = part(left, 1)?;
    let (_, whole) = part(picture.width, 1)?;
    let (_, pitch) = picture.planes.get(plane).map(|p| (p.1, p.2 as usize)).ok_or_else(wrong)?;
    if pitch < whole {
        return Err(Error::invalid(format!("rows of {whole} bytes with a pitch of {pitch} in a DMA-BUF")));
    }
    Ok((rows, bytes))
}

/// Bytes behind a descriptor, 0 where it does not say.
fn length(fd: c_int) -> u64 {
    // SAFETY: an open descriptor; its place is nobody's.
    u64::try_from(unsafe { libc::lseek(fd, 0, libc::SEEK_END) }).unwrap_or(0)
}

/// Whether nobody can make the memory shorter while it is mapped, which would end the process that reads it.
#[cfg(target_os = "linux")]
fn keeps_its_length(fd: c_int) -> bool {
    const DMA_BUF_MAGIC: i64 = 0x444d_4142;
    // SAFETY: plain numbers; an open descriptor.
    let seals = unsafe { libc::fcntl(fd, libc::F_GET_SEALS) };
    if seals >= 0 {
        return seals & libc::F_SEAL_SHRINK != 0;
    }
    // SAFETY: all zero is a value of the struct, which the call fills.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor and a struct of ours.
    unsafe { libc::fstatfs(fd, &mut about) == 0 && about.f_type as i64 == DMA_BUF_MAGIC }
}

#[cfg(not(target_os = "linux"))]
fn keeps_its_length(_: c_int) -> bool {
    false
}

/// Shared memory, mapped for reading, between the two calls that tell a GPU's driver of it.
struct Mapped<'a> {
    start: *mut c_void,
    len: usize,
    fd: BorrowedFd<'a>,
}

const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 4;

impl<'a> Mapped<'a> {
    fn new(fd: BorrowedFd<'a>, len: usize) -> Result<Mapped<'a>> {
        let (raw, system) = (fd.as_raw_fd(), |what: &'static str| {
            Error::new(-std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO), what)
        });
        if !keeps_its_length(raw) {
            return Err(Error::new(-libc::ENOSYS, "read shared memory that may be cut off meanwhile"));
        }
        if (len as u64) > length(raw) {
            return Err(Error::invalid(format!(
                "a DMA-BUF of {} bytes, of which {len} are to be read",
                length(raw)
            )));
        }
        // SAFETY: a new mapping; the result is checked.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, raw, 0) };
        if start == libc::MAP_FAILED {
            return Err(system("map a DMA-BUF"));
        }
        let mapped = Mapped { start, len, fd };
        mapped.sync(SYNC_READ);
        Ok(mapped)
    }

    /// Waits for writers, or lets them go on. Memory that is not a device's knows nothing of it.
    fn sync(&self, flags: u64) {
        /// `DMA_BUF_IOCTL_SYNC`.
        const REQUEST: libc::c_ulong = 0x4008_6200;
        // SAFETY: an open descriptor; the call reads one number.
        unsafe { libc::ioctl(self.fd.as_raw_fd(), REQUEST as _, &flags) };
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for `len` bytes, which was seen to be there and to stay there. Who shares the memory may write to it
        // meanwhile; torn pixels are the worst of that, as nothing but copying is done with them.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        self.sync(SYNC_READ | SYNC_END);
        // SAFETY: ours, once.
        unsafe { libc::munmap(self.start, self.len) };
    }
}
