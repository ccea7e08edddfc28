//! V4L2: what cameras the kernel has, and pictures into a device that shows them to others (v4l2loopback). Reading a camera is
//! FFmpeg's.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

/// A video device of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it is (`/dev/video0`).
    pub path: String,
    /// What its driver calls it.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// It gives pictures: a camera.
    pub captures: bool,
    /// It takes pictures: a virtual camera's other side.
    pub shows: bool,
}

/// A failure, with the system's reason.
#[derive(Debug)]
pub struct Error {
    what: &'static str,
    source: io::Error,
}

impl Error {
    fn new(what: &'static str, source: io::Error) -> Error {
        Error { what, source }
    }

    fn last(what: &'static str) -> Error {
        Error::new(what, io::Error::last_os_error())
    }

    /// What kind of reason the system gave.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.source)
    }
}

impl std::error::Error for Error {}

/// Layouts of `linux/videodev2.h`, which are the kernel's promise.
mod layout {
    /// `struct v4l2_capability`.
    #[repr(C)]
    pub struct Capability {
        pub driver: [u8; 16],
        pub card: [u8; 32],
        pub bus: [u8; 32],
        pub version: u32,
        pub capabilities: u32,
        pub device: u32,
        pub reserved: [u32; 3],
    }

    /// `struct v4l2_pix_format`.
    #[derive(Clone, Copy)]
    #[repr(C)]
    pub struct Pixels {
        pub width: u32,
        pub height: u32,
        pub format: u32,
        pub field: u32,
        pub stride: u32,
        pub size: u32,
        pub colorspace: u32,
        pub magic: u32,
        pub flags: u32,
        pub encoding: u32,
        pub quantization: u32,
        pub transfer: u32,
    }

    /// The union within `struct v4l2_format`, which has pointers in it.
    #[repr(C)]
    pub union Of {
        pub pixels: Pixels,
        pub raw: [u8; 200],
        pub aligned: *const u8,
    }

    /// `struct v4l2_format`.
    #[repr(C)]
    pub struct Format {
        pub kind: u32,
        pub of: Of,
    }

    pub const OUTPUT: u32 = 2;
    pub const FIELD_NONE: u32 = 1;
    pub const COLORSPACE_SMPTE170M: u32 = 1;
    pub const COLORSPACE_REC709: u32 = 3;
    pub const CAN_CAPTURE: u32 = 0x1;
    pub const CAN_OUTPUT: u32 = 0x2;
    pub const CAN_CAPTURE_PLANES: u32 = 0x1000;
    pub const SAYS_DEVICE: u32 = 0x8000_0000;
}

/// A request's number, as `_IOC` of the kernel makes it.
const fn request(direction: libc::c_ulong, number: libc::c_ulong, size: usize) -> libc::c_ulong {
    direction << 30 | (size as libc::c_ulong) << 16 | (b'V' as libc::c_ulong) << 8 | number
}

const READ: libc::c_ulong = 2;
const BOTH: libc::c_ulong = 3;
const QUERYCAP: libc::c_ulong = request(READ, 0, size_of::<layout::Capability>());
const S_FMT: libc::c_ulong = request(BOTH, 5, size_of::<layout::Format>());

/// The system's monotonic clock, which the times of cameras are of.
pub fn monotonic() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec of ours; the clock always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The video devices that this user may open, by number.
pub fn devices() -> Vec<Device> {
    let number = |name: &str| name.strip_prefix("video").and_then(|n| n.parse::<u32>().ok());
    let entries = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut found: Vec<u32> = entries.filter_map(|e| number(&e.file_name().to_string_lossy())).collect();
    found.sort_unstable();
    found.into_iter().filter_map(|n| about(Path::new(&format!("/dev/video{n}"))).ok()).collect()
}

/// What the device at `path` is.
///
/// # Errors
/// The system's reason when it cannot be opened, or is no video device.
pub fn about(path: &Path) -> Result<Device, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    describe(path, &file.map_err(|e| Error::new("cannot be opened", e))?)
}

fn describe(path: &Path, file: &File) -> Result<Device, Error> {
    // SAFETY: integers only, for which zero is a value.
    let mut found: layout::Capability = unsafe { std::mem::zeroed() };
    // SAFETY: an open file; the request writes a structure of just that size.
    if unsafe { libc::ioctl(file.as_raw_fd(), QUERYCAP as _, &raw mut found) } != 0 {
        return Err(Error::last("is no video device"));
    }
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
    };
    let says = found.capabilities & layout::SAYS_DEVICE != 0;
    let can = if says { found.device } else { found.capabilities };
    Ok(Device {
        path: path.to_string_lossy().into_owned(),
        name: text(&found.card),
        driver: text(&found.driver),
        captures: can & (layout::CAN_CAPTURE | layout::CAN_CAPTURE_PLANES) != 0,
        shows: can & layout::CAN_OUTPUT != 0,
    })
}

/// How pictures for a [`Loopback`] lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// What V4L2 calls the format.
    pub format: [u8; 4],
    /// Bytes of a row of the first plane.
    pub stride: u32,
    /// Bytes of all.
    pub size: usize,
    /// BT.709, not BT.601.
    pub bt709: bool,
}

impl Picture {
    /// Pictures of FFmpeg's format `name`, rows without padding; `None` for formats that cameras do not have.
    pub fn new(name: &str, width: u32, height: u32, bt709: bool) -> Option<Picture> {
        let (format, stride, size) = match name {
            "yuv420p" => (*b"YU12", width, width as usize * height as usize * 3 / 2),
            "nv12" => (*b"NV12", width, width as usize * height as usize * 3 / 2),
            "yuyv422" => (*b"YUYV", width * 2, width as usize * height as usize * 2),
            _ => return None,
        };
        Some(Picture { width, height, format, stride, size, bt709 })
    }
}

/// A device that shows what is written to it to those who open it as a camera. Dropping it ends that.
#[derive(Debug)]
pub struct Loopback {
    file: File,
    size: usize,
}

impl Loopback {
    /// Opens the device at `path` for pictures of this kind.
    ///
    /// # Errors
    /// The system's reason when it cannot be opened, is no such device, or does not take such pictures.
    pub fn open(path: &Path, picture: &Picture) -> Result<Loopback, Error> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| Error::new("cannot be opened", e))?;
        if !describe(path, &file)?.shows {
            let reason = io::Error::new(io::ErrorKind::Unsupported, "a camera, not a v4l2loopback device");
            return Err(Error::new("takes no pictures", reason));
        }
        let number = u32::from_le_bytes(picture.format);
        let size = u32::try_from(picture.size).unwrap_or(u32::MAX);
        // SAFETY: integers and a pointer that nobody follows, for which zero is a value.
        let mut format: layout::Format = unsafe { std::mem::zeroed() };
        format.kind = layout::OUTPUT;
        format.of.pixels = layout::Pixels {
            width: picture.width,
            height: picture.height,
            format: number,
            field: layout::FIELD_NONE,
            stride: picture.stride,
            size,
            colorspace: if picture.bt709 { layout::COLORSPACE_REC709 } else { layout::COLORSPACE_SMPTE170M },
            magic: 0,
            flags: 0,
            encoding: 0,
            quantization: 0,
            transfer: 0,
        };
        // SAFETY: an open file; the request reads and writes a structure of just that size.
        if unsafe { libc::ioctl(file.as_raw_fd(), S_FMT as _, &raw mut format) } != 0 {
            return Err(Error::last("does not take such pictures"));
        }
        // SAFETY: set above, and written by the driver as what it is.
        let agreed = unsafe { format.of.pixels };
        if (agreed.width, agreed.height, agreed.format) != (picture.width, picture.height, number) {
            let reason = format!("it wants {}x{}, and perhaps another format", agreed.width, agreed.height);
            return Err(Error::new(
                "does not take such pictures",
                io::Error::new(io::ErrorKind::Unsupported, reason),
            ));
        }
        Ok(Loopback { file, size: picture.size })
    }

    /// Shows a picture.
    ///
    /// # Errors
    /// The system's reason, and for a picture of another size.
    pub fn show(&mut self, picture: &[u8]) -> Result<(), Error> {
        if picture.len() != self.size {
            let reason = format!("{} bytes instead of {}", picture.len(), self.size);
            return Err(Error::new("a picture", io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        self.file.write_all(picture).map_err(|e| Error::new("is gone", e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_the_kernel() {
        // What <linux/videodev2.h> says on a machine of 64 bits.
        #[cfg(target_pointer_width = "64")]
        assert_eq!((QUERYCAP, S_FMT), (0x8068_5600, 0xc0d0_5605));
        assert_eq!(size_of::<layout::Capability>(), 104);
        assert_eq!(size_of::<layout::Pixels>(), 48);
    }

    #[test]
    fn what_is_no_video_device_is_refused() {
        let said = |path: &str| about(Path::new(path)).unwrap_err().to_string();
        assert!(said("/dev/null").starts_with("is no video device"), "{}", said("/dev/null"));
        assert!(said("/dev/no-such-device").starts_with("cannot be opened"));
        let picture = Picture::new("nv12", 64, 32, false).unwrap();
        assert_eq!((picture.size, &picture.format), (3072, b"NV12"));
        let said = Loopback::open(Path::new("/dev/null"), &picture).unwrap_err().to_string();
        assert!(said.starts_with("is no video device"), "{said}");
        assert!(Picture::new("rgb24", 4, 4, false).is_none());
        // Whatever is here, it can be listed.
        assert!(devices().iter().all(|d| d.path.starts_with("/dev/video")));
    }
}
