//! A buffer of a stream, read with every length checked: what the other side writes there is not trusted.

use super::{Bitmap, Cursor, Error, Kind};
use crate::ffmpeg::{Frame, FramePool, PixelFormat};
use pipewire::spa::sys as spa;
use std::mem::size_of;

/// How much a plane has of a picture: bytes per step, and the shifts of width and height.
type Layout = (usize, u32, u32);

/// The planes of a format.
pub(super) fn layout(format: PixelFormat) -> Option<&'static [Layout]> {
    Some(match format.name() {
        "bgr0" | "rgb0" | "bgra" | "rgba" | "0rgb" | "0bgr" | "argb" | "abgr" | "x2rgb10le" | "x2bgr10le" => {
            &[(4, 0, 0)]
        }
        "rgb24" | "bgr24" => &[(3, 0, 0)],
        "yuyv422" | "uyvy422" => &[(4, 1, 0)],
        "nv12" => &[(1, 0, 0), (2, 1, 1)],
        "yuv420p" => &[(1, 0, 0), (1, 1, 1), (1, 1, 1)],
        _ => return None,
    })
}

/// `n` samples at a shift, rounded up.
pub(super) fn shifted(n: u32, shift: u32) -> usize {
    (n as usize).div_ceil(1 << shift)
}

/// A part of one buffer's memory.
pub(super) struct Block<'a> {
    /// `SPA_DATA_*`.
    pub kind: u32,
    pub fd: i64,
    /// Where the memory of the fd that is meant begins.
    pub map_offset: u32,
    /// Mapped memory, if it is.
    pub memory: Option<&'a [u8]>,
    pub offset: u32,
    pub size: u32,
    pub stride: i32,
    pub corrupted: bool,
}

/// A buffer that was taken from its stream and not yet given back.
pub(super) struct View {
    buffer: *mut spa::spa_buffer,
}

impl View {
    /// # Safety
    /// `buffer` was dequeued from a stream and must not be given back while the view or what it lends is used.
    pub unsafe fn new(buffer: *mut pipewire::sys::pw_buffer) -> Option<View> {
        // SAFETY: a dequeued buffer points to its memory description for as long as it is out.
        let buffer = unsafe { buffer.as_ref()? }.buffer;
        (!buffer.is_null()).then_some(View { buffer })
    }

    /// Its memory, in blocks.
    pub fn blocks(&self) -> Vec<Block<'_>> {
        // SAFETY: valid by the contract of `new`; PipeWire wrote the counts and pointers in this process.
        let datas = unsafe {
            let buffer = &*self.buffer;
            if buffer.datas.is_null() || buffer.n_datas == 0 {
                return Vec::new();
            }
            std::slice::from_raw_parts(buffer.datas, buffer.n_datas as usize)
        };
        let block = |data: &spa::spa_data| {
            // SAFETY: the chunk is shared memory that PipeWire mapped for as long as the buffer exists; it is read once,
            // because the other side may write it at any time.
            let chunk = unsafe { data.chunk.as_ref() }.map(|c| (c.offset, c.size, c.stride, c.flags));
            let (offset, size, stride, flags) = chunk.unwrap_or((0, 0, 0, 0));
            let memory = (!data.data.is_null())
                // SAFETY: PipeWire mapped `maxsize` bytes there for as long as the buffer exists. The other side does not
                // write while we have the buffer; if it did nevertheless, bytes would be wrong and nothing else.
                .then(|| unsafe {
                    std::slice::from_raw_parts(data.data.cast::<u8>(), data.maxsize as usize)
                });
            Block {
                kind: data.type_,
                fd: data.fd,
                map_offset: data.mapoffset,
                memory,
                offset,
                size,
                stride,
                corrupted: flags & spa::SPA_CHUNK_FLAG_CORRUPTED as i32 != 0,
            }
        };
        datas.iter().map(block).collect()
    }

    /// Lets `write` fill the first `size` bytes of the first block, and says so to the other side; whether there was room.
    pub fn fill(&mut self, size: usize, stride: usize, write: impl FnOnce(&mut [u8])) -> bool {
        // SAFETY: valid by the contract of `new`; nobody else has the buffer while it is out.
        let data = unsafe {
            let buffer = &mut *self.buffer;
            if buffer.datas.is_null() || buffer.n_datas == 0 {
                return false;
            }
            &mut *buffer.datas
        };
        let (Ok(length), Ok(row)) = (u32::try_from(size), i32::try_from(stride)) else { return false };
        // SAFETY: the chunk is shared memory that PipeWire mapped for as long as the buffer exists.
        let Some(chunk) = (unsafe { data.chunk.as_mut() }) else { return false };
        (chunk.offset, chunk.stride, chunk.size) = (0, row, 0);
        if data.data.is_null() || (data.maxsize as usize) < size {
            return false;
        }
        // SAFETY: PipeWire mapped `maxsize` bytes there, which are ours to write while the buffer is out.
        write(unsafe { std::slice::from_raw_parts_mut(data.data.cast::<u8>(), size) });
        chunk.size = length;
        true
    }

    /// Writes the time and number of what the buffer holds, where there is a place for them.
    pub fn set_header(&mut self, pts: i64, sequence: u64) {
        let Some((place, room)) = self.meta_place(spa::SPA_META_Header) else { return };
        if room < size_of::<spa::spa_meta_header>() {
            return;
        }
        let header = spa::spa_meta_header { flags: 0, offset: 0, pts, dts_offset: 0, seq: sequence };
        // SAFETY: there is room for it in memory that is ours to write while the buffer is out; the write needs no alignment.
        unsafe { place.cast::<spa::spa_meta_header>().write_unaligned(header) };
    }

    /// Where the bytes of a kind of facts are, and how many.
    fn meta_place(&self, kind: u32) -> Option<(*mut u8, usize)> {
        // SAFETY: as in `blocks`.
        let metas = unsafe {
            let buffer = &*self.buffer;
            if buffer.metas.is_null() || buffer.n_metas == 0 {
                return None;
            }
            std::slice::from_raw_parts(buffer.metas, buffer.n_metas as usize)
        };
        let meta = metas.iter().find(|m| m.type_ == kind && !m.data.is_null())?;
        Some((meta.data.cast::<u8>(), meta.size as usize))
    }

    /// The bytes of a kind of facts.
    fn meta(&self, kind: u32) -> Option<&[u8]> {
        let (place, size) = self.meta_place(kind)?;
        // SAFETY: PipeWire mapped `size` bytes there, for as long as the buffer exists.
        Some(unsafe { std::slice::from_raw_parts(place, size) })
    }

    /// The presentation time in nanoseconds, if there is one, and the number.
    pub fn header(&self) -> Option<(Option<i64>, u64, bool)> {
        let header: spa::spa_meta_header = read(self.meta(spa::SPA_META_Header)?, 0)?;
        let corrupted = header.flags & spa::SPA_META_HEADER_FLAG_CORRUPTED != 0;
        Some(((header.pts > 0).then_some(header.pts), header.seq, corrupted))
    }

    /// Left, top, width and height of what is to be seen of a picture of this size.
    pub fn crop(&self, width: u32, height: u32) -> [u32; 4] {
        let whole = [0, 0, width, height];
        let region = self.meta(spa::SPA_META_VideoCrop).and_then(|m| read::<spa::spa_meta_region>(m, 0));
        let Some(region) = region.map(|r| r.region) else { return whole };
        let (x, y) = (region.position.x, region.position.y);
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return whole };
        let fits =
            |at: u32, size: u32, all: u32| size > 0 && at.checked_add(size).is_some_and(|end| end <= all);
        if fits(x, region.size.width, width) && fits(y, region.size.height, height) {
            [x, y, region.size.width, region.size.height]
        } else {
            whole
        }
    }

    /// The pointer, if the node tells of it; one that is not to be seen is far outside.
    pub fn cursor(&self) -> Option<Cursor> {
        let meta = self.meta(spa::SPA_META_Cursor)?;
        let cursor: spa::spa_meta_cursor = read(meta, 0)?;
        if cursor.id == 0 {
            return Some(Cursor { position: Cursor::NOWHERE, hotspot: (0, 0), bitmap: None });
        }
        let at = cursor.bitmap_offset as usize;
        let bitmap = (at >= size_of::<spa::spa_meta_cursor>()).then(|| bitmap(meta, at)).flatten();
        Some(Cursor {
            position: (cursor.position.x, cursor.position.y),
            hotspot: (cursor.hotspot.x, cursor.hotspot.y),
            bitmap,
        })
    }
}

/// A structure of plain numbers at `offset`.
fn read<T: Copy>(bytes: &[u8], offset: usize) -> Option<T> {
    let end = offset.checked_add(size_of::<T>())?;
    let part = bytes.get(offset..end)?;
    // SAFETY: `T` is one of PipeWire's structures of integers, for which every pattern of bits is a value; there are enough
    // bytes, and the read needs no alignment.
    Some(unsafe { part.as_ptr().cast::<T>().read_unaligned() })
}

fn bitmap(meta: &[u8], at: usize) -> Option<Bitmap> {
    let head: spa::spa_meta_bitmap = read(meta, at)?;
    let (width, height) = (head.size.width, head.size.height);
    if head.format == 0 || width == 0 || height == 0 {
        return Some(Bitmap { width: 0, height: 0, rgba: Vec::new() });
    }
    // Red, green, blue and alpha within four bytes.
    let order: [usize; 4] = match head.format {
        spa::SPA_VIDEO_FORMAT_RGBA => [0, 1, 2, 3],
        spa::SPA_VIDEO_FORMAT_BGRA => [2, 1, 0, 3],
        spa::SPA_VIDEO_FORMAT_ARGB => [1, 2, 3, 0],
        spa::SPA_VIDEO_FORMAT_ABGR => [3, 2, 1, 0],
        _ => return None,
    };
    let row = (width as usize).checked_mul(4)?;
    let stride = usize::try_from(head.stride).ok().filter(|s| *s >= row).unwrap_or(row);
    let first = at.checked_add(head.offset as usize)?;
    let mut rgba = Vec::with_capacity(row.checked_mul(height as usize).filter(|n| *n <= meta.len())?);
    for y in 0..height as usize {
        let begin = first.checked_add(y.checked_mul(stride)?)?;
        for pixel in meta.get(begin..begin.checked_add(row)?)?.chunks_exact(4) {
            let alpha = u32::from(pixel[order[3]]);
            for colour in &order[..3] {
                // Compositors multiply the alpha in.
                let value = u32::from(pixel[*colour]) * 255;
                rgba.push(u8::try_from(value.checked_div(alpha).unwrap_or(0)).unwrap_or(255));
            }
            rgba.push(pixel[order[3]]);
        }
    }
    Some(Bitmap { width, height, rgba })
}

/// Copies what is to be seen of a picture of `width` by `height`.
pub(super) fn copy(
    blocks: &[Block],
    format: PixelFormat,
    (width, height): (u32, u32),
    crop: [u32; 4],
    pool: &mut Option<FramePool>,
) -> Result<Frame, Error> {
    let bad =
        |what: &str| Error::new(Kind::Io, format!("a buffer of {width}x{height} {format} pictures {what}"));
    let planes = layout(format).ok_or_else(|| bad("is of a format that is not known"))?;
    // Samples that several pixels share cannot be cut apart.
    let even = planes.iter().map(|(_, w, h)| (*w, *h)).max().unwrap_or((0, 0));
    let (left, top) = (crop[0] >> even.0 << even.0, crop[1] >> even.1 << even.1);
    if !pool.as_ref().is_some_and(|p| p.is_for(format, crop[2], crop[3])) {
        *pool = Some(
            FramePool::new(format, crop[2], crop[3]).map_err(|e| Error::new(Kind::Memory, e.to_string()))?,
        );
    }
    let Some(pool) = pool else { return Err(bad("has no pool")) };
    let mut frame = pool.get().map_err(|e| Error::new(Kind::Memory, e.to_string()))?;
    let mut begin = 0;
    for (p, (step, w, h)) in planes.iter().enumerate() {
        // Each plane has a block of its own, or all follow one another in the first.
        let own = blocks.len() >= planes.len();
        let block = blocks.get(if own { p } else { 0 }).ok_or_else(|| bad("has no memory"))?;
        let memory = block.memory.ok_or_else(|| bad("cannot be read"))?;
        let row = shifted(width, *w) * step;
        let said = usize::try_from(block.stride).unwrap_or(0);
        let said = if own || p == 0 {
            said
        } else {
            said * row / (shifted(width, planes[0].1) * planes[0].0).max(1)
        };
        let stride = if said < row { row } else { said };
        let rows = shifted(height, *h);
        let origin = block.offset as usize + if own { 0 } else { begin };
        begin += stride * rows;
        let target = frame.stride(p);
        let (x, y) = ((left >> w) as usize * step, (top >> h) as usize);
        let (bytes, lines) = (shifted(crop[2], *w) * step, shifted(crop[3], *h));
        let to = frame.plane_mut(p).ok_or_else(|| bad("has no copy"))?;
        for line in 0..lines.min(rows) {
            let from = origin + (y + line) * stride + x;
            let (from, to) =
                (memory.get(from..from + bytes), to.get_mut(line * target..line * target + bytes));
            let (Some(from), Some(to)) = (from, to) else { return Err(bad("is too small")) };
            to.copy_from_slice(from);
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(memory: &[u8], stride: i32) -> Block<'_> {
        Block {
            kind: spa::SPA_DATA_MemFd,
            fd: -1,
            map_offset: 0,
            memory: Some(memory),
            offset: 0,
            size: memory.len() as u32,
            stride,
            corrupted: false,
        }
    }

    #[test]
    fn rows_are_found_with_and_without_a_stride() {
        let format = PixelFormat::from_name("bgr0").unwrap();
        // Two rows of two pixels, with four bytes more in each.
        let memory: Vec<u8> = (0..24).collect();
        let frame = copy(&[block(&memory, 12)], format, (2, 2), [0, 0, 2, 2], &mut None).unwrap();
        assert_eq!(&frame.plane(0)[frame.stride(0)..][..8], &memory[12..20]);
        // stride = 0 means none, and is to be taken.
        let frame = copy(&[block(&memory, 0)], format, (2, 2), [0, 0, 2, 2], &mut None).unwrap();
        assert_eq!(&frame.plane(0)[frame.stride(0)..][..8], &memory[8..16]);
        let frame = copy(&[block(&memory, 12)], format, (2, 2), [1, 1, 1, 1], &mut None).unwrap();
        assert_eq!((frame.width(), &frame.plane(0)[..4]), (1, &memory[16..20]));
        let e = copy(&[block(&memory, 12)], format, (2, 3), [0, 0, 2, 3], &mut None).unwrap_err();
        assert!(e.to_string().contains("too small"), "{e}");
    }

    #[test]
    fn planes_follow_one_another_or_have_blocks() {
        let format = PixelFormat::from_name("yuv420p").unwrap();
        // 4x2 luma, then 2x1 of each chroma.
        let memory: Vec<u8> = (0..12).collect();
        let together = copy(&[block(&memory, 4)], format, (4, 2), [0, 0, 4, 2], &mut None).unwrap();
        let parts = [block(&memory[..8], 4), block(&memory[8..10], 2), block(&memory[10..], 2)];
        let apart = copy(&parts, format, (4, 2), [0, 0, 4, 2], &mut None).unwrap();
        for frame in [together, apart] {
            assert_eq!(&frame.plane(0)[frame.stride(0)..][..4], &[4, 5, 6, 7]);
            assert_eq!((&frame.plane(1)[..2], &frame.plane(2)[..2]), (&[8, 9][..], &[10, 11][..]));
        }
    }
}
