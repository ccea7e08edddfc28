//! Rows of bytes: on the device, and in host memory to copy from and to.

use super::error::{Error, Result};
use std::marker::PhantomData;

/// Rows on a device, borrowed from what owns the memory. Rows begin every `pitch` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    address: u64,
    pitch: usize,
    row_bytes: usize,
    rows: usize,
    owner: PhantomData<&'a ()>,
}

/// Rows on a device, for writing.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    plane: Plane<'a>,
    owner: PhantomData<&'a mut ()>,
}

/// Rows in host memory to read.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    /// From the first byte of the first row to the last of the last.
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub pitch: usize,
}

/// Rows in host memory to write.
#[derive(Debug)]
pub struct HostMut<'a> {
    /// From the first byte of the first row to the last of the last.
    pub bytes: &'a mut [u8],
    /// Bytes from one row to the next.
    pub pitch: usize,
}

/// Where rows lie in a [`PinnedBuffer`](super::PinnedBuffer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Byte of the buffer at which the first row begins.
    pub offset: usize,
    /// Bytes from one row to the next.
    pub pitch: usize,
}

impl Layout {
    pub(super) fn of<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        bytes.get(self.offset..).ok_or_else(|| Error::invalid("a plane begins behind the host buffer"))
    }

    pub(super) fn of_mut<'a>(&self, bytes: &'a mut [u8]) -> Result<&'a mut [u8]> {
        bytes.get_mut(self.offset..).ok_or_else(|| Error::invalid("a plane begins behind the host buffer"))
    }
}

impl<'a> Plane<'a> {
    /// Rows at `address`, for owners in this crate that know that they lie in memory that lives for `'a`.
    pub(crate) fn new(address: u64, pitch: usize, row_bytes: usize, rows: usize) -> Plane<'a> {
        Plane { address, pitch, row_bytes, rows, owner: PhantomData }
    }

    /// Rows of somebody else's memory.
    ///
    /// # Safety
    /// The rows lie in device memory of the context that they are used in, live for `'a`, and nobody writes to them
    /// meanwhile.
    pub unsafe fn foreign(address: u64, pitch: usize, row_bytes: usize, rows: usize) -> Plane<'a> {
        Plane::new(address, pitch, row_bytes, rows)
    }

    /// Where the first row begins, in the device's address space; a number for kernels and for other libraries, valid
    /// while the owner lives.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Bytes from one row to the next.
    pub fn pitch(&self) -> usize {
        self.pitch
    }

    /// Bytes that count in a row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// A rectangle of it: `x` and `width` in bytes, `y` and `rows` in rows.
    ///
    /// # Errors
    /// `Invalid` when it does not lie in the plane.
    pub fn part(&self, x: usize, y: usize, width: usize, rows: usize) -> Result<Plane<'a>> {
        let inside = |from: usize, n: usize, all: usize| from.checked_add(n).is_some_and(|end| end <= all);
        if !inside(x, width, self.row_bytes) || !inside(y, rows, self.rows) {
            return Err(Error::invalid("a rectangle outside a device plane"));
        }
        Ok(Plane { address: self.address + (y * self.pitch + x) as u64, row_bytes: width, rows, ..*self })
    }
}

impl<'a> PlaneMut<'a> {
    /// As [`Plane::new`], where nothing else refers to the rows.
    pub(crate) fn new(address: u64, pitch: usize, row_bytes: usize, rows: usize) -> PlaneMut<'a> {
        PlaneMut { plane: Plane::new(address, pitch, row_bytes, rows), owner: PhantomData }
    }

    /// For reading.
    pub fn as_plane(&self) -> Plane<'_> {
        self.plane
    }

    /// As [`Plane::address`].
    pub fn address(&self) -> u64 {
        self.plane.address
    }

    /// As [`Plane::pitch`].
    pub fn pitch(&self) -> usize {
        self.plane.pitch
    }

    /// As [`Plane::row_bytes`].
    pub fn row_bytes(&self) -> usize {
        self.plane.row_bytes
    }

    /// As [`Plane::rows`].
    pub fn rows(&self) -> usize {
        self.plane.rows
    }

    /// A rectangle of it, as [`Plane::part`].
    ///
    /// # Errors
    /// As [`Plane::part`].
    pub fn part(&mut self, x: usize, y: usize, width: usize, rows: usize) -> Result<PlaneMut<'_>> {
        Ok(PlaneMut { plane: self.plane.part(x, y, width, rows)?, owner: PhantomData })
    }
}

/// Checked descriptions of copies.
pub(super) mod copy {
    use super::{Error, Host, HostMut, Plane, PlaneMut, Result};
    #[cfg(target_os = "linux")]
    use cudarc::driver::sys::CUarray;
    use cudarc::driver::sys::{CUDA_MEMCPY2D, CUmemorytype};

    pub fn upload(from: Host<'_>, to: &mut PlaneMut<'_>) -> Result<CUDA_MEMCPY2D> {
        fits(from.bytes.len(), from.pitch, to.row_bytes(), to.rows())?;
        let mut job = blank(to.row_bytes(), to.rows());
        job.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_HOST;
        job.srcHost = from.bytes.as_ptr().cast();
        job.srcPitch = from.pitch;
        Ok(onto(job, to))
    }

    pub fn download(from: &Plane<'_>, to: HostMut<'_>) -> Result<CUDA_MEMCPY2D> {
        fits(to.bytes.len(), to.pitch, from.row_bytes, from.rows)?;
        let mut job = from_device(from);
        job.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_HOST;
        job.dstHost = to.bytes.as_mut_ptr().cast();
        job.dstPitch = to.pitch;
        Ok(job)
    }

    pub fn between(from: &Plane<'_>, to: &mut PlaneMut<'_>) -> Result<CUDA_MEMCPY2D> {
        if (from.row_bytes, from.rows) != (to.row_bytes(), to.rows()) {
            return Err(Error::invalid(format!(
                "copy {} rows of {} bytes to {} rows of {} bytes on the device",
                from.rows,
                from.row_bytes,
                to.rows(),
                to.row_bytes()
            )));
        }
        Ok(onto(from_device(from), to))
    }

    /// From the beginning of an array, as much as `to` holds.
    #[cfg(target_os = "linux")]
    pub fn from_array(array: CUarray, to: &mut PlaneMut<'_>) -> CUDA_MEMCPY2D {
        let mut job = blank(to.row_bytes(), to.rows());
        job.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_ARRAY;
        job.srcArray = array;
        onto(job, to)
    }

    fn from_device(from: &Plane<'_>) -> CUDA_MEMCPY2D {
        let mut job = blank(from.row_bytes, from.rows);
        job.srcMemoryType = CUmemorytype::CU_MEMORYTYPE_DEVICE;
        job.srcDevice = from.address;
        job.srcPitch = from.pitch;
        job
    }

    fn onto(mut job: CUDA_MEMCPY2D, to: &mut PlaneMut<'_>) -> CUDA_MEMCPY2D {
        job.dstMemoryType = CUmemorytype::CU_MEMORYTYPE_DEVICE;
        job.dstDevice = to.address();
        job.dstPitch = to.pitch();
        job
    }

    fn fits(len: usize, pitch: usize, row_bytes: usize, rows: usize) -> Result<()> {
        let last = rows.checked_sub(1).and_then(|n| n.checked_mul(pitch));
        let needed =
            last.and_then(|n| n.checked_add(row_bytes)).unwrap_or(if rows == 0 { 0 } else { usize::MAX });
        if pitch < row_bytes || needed > len {
            return Err(Error::invalid(format!(
                "{rows} rows of {row_bytes} bytes do not fit in {len} bytes of host memory with a pitch of {pitch}"
            )));
        }
        Ok(())
    }

    fn blank(row_bytes: usize, rows: usize) -> CUDA_MEMCPY2D {
        CUDA_MEMCPY2D {
            srcXInBytes: 0,
            srcY: 0,
            srcMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            srcHost: std::ptr::null(),
            srcDevice: 0,
            srcArray: std::ptr::null_mut(),
            srcPitch: 0,
            dstXInBytes: 0,
            dstY: 0,
            dstMemoryType: CUmemorytype::CU_MEMORYTYPE_HOST,
            dstHost: std::ptr::null_mut(),
            dstDevice: 0,
            dstArray: std::ptr::null_mut(),
            dstPitch: 0,
            WidthInBytes: row_bytes,
            Height: rows,
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn copies_that_leave_host_memory_are_refused() {
            let bytes = [0u8; 100];
            let mut plane = PlaneMut::new(1 << 40, 64, 32, 3);
            for (len, pitch, fits) in [(100, 34, true), (99, 34, false), (100, 31, false), (96, 32, true)] {
                let from = Host { bytes: &bytes[..len], pitch };
                let refused = if len == 99 { Host { bytes: &bytes[..99], pitch } } else { from };
                assert_eq!(upload(refused, &mut plane).is_ok(), fits, "{len} {pitch}");
            }
            let huge = Host { bytes: &bytes, pitch: usize::MAX };
            assert!(upload(huge, &mut plane).is_err());
            let other = Plane::new(1 << 41, 64, 32, 4);
            assert!(between(&other, &mut plane).is_err());
            assert!(other.part(0, 1, 32, 3).and_then(|p| between(&p, &mut plane)).is_ok());
            assert!(other.part(1, 1, 32, 3).is_err() && other.part(0, 2, 32, 3).is_err());
        }
    }
}
