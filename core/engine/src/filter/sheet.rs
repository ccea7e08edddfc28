//! Sheets of previews: pictures of one size beside and below each other in one.

use super::colour::assumed;
use super::rate::sum;
use crate::error::{Error, ErrorKind, Result};
use crate::frame::{ColourRange, Frame, PixelFormat};
use crate::stage::{Outlet, Stage};
use crate::time::{Rational, TimeBase, Timestamp};
use ghoststream_sys::ffmpeg as av;

/// A picture that was put on a sheet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preview {
    /// When it is shown.
    pub start: Timestamp,
    /// When it no longer is.
    pub end: Timestamp,
    /// The number of its sheet, from 0.
    pub sheet: u64,
    /// Pixels from the sheet's left side.
    pub x: u32,
    /// Pixels from the sheet's upper side.
    pub y: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Told of every preview as it is put on its sheet.
pub type Told = Box<dyn FnMut(Preview) + Send>;

/// Puts pictures on sheets, row by row from the left, each at its place as it comes. A sheet goes on when it is full, and the
/// last one with what there is, the rest black. All must have the size and pixel format of the sheet's first, in host memory;
/// where they share their chroma, their sides must be even.
///
/// A sheet has the time, colour and base of its first picture, and lasts as long as all of them.
pub struct Sheet {
    columns: u32,
    rows: u32,
    told: Told,
    open: Option<Open>,
    /// Sheets that are out.
    made: u64,
}

/// A sheet that is being filled.
struct Open {
    sheet: av::Frame,
    base: TimeBase,
    start: Timestamp,
    force_key: bool,
    /// Of a picture.
    size: (u32, u32),
    format: PixelFormat,
    filled: u32,
    /// Where the newest picture ends.
    end: Timestamp,
}

impl Sheet {
    /// Sheets of `columns` by `rows` pictures; at least one.
    pub fn new(columns: u32, rows: u32, told: Told) -> Self {
        Sheet { columns: columns.max(1), rows: rows.max(1), told, open: None, made: 0 }
    }

    /// An empty sheet for pictures like `first`.
    fn begin(&self, first: &Frame) -> Result<Open> {
        let v = first.video();
        let side = |length: u32, count: u32| {
            length.checked_mul(count).ok_or_else(|| Error::unsupported("a sheet has no such size"))
        };
        let (width, height) = (side(v.width, self.columns)?, side(v.height, self.rows)?);
        let mut sheet = av::Frame::alloc_video(v.format, width, height, 0)?;
        sheet.copy_props(first.media())?;
        sheet.fill_black(assumed(&v).range == ColourRange::Full)?;
        let base = first.base;
        let start = first.presentation().unwrap_or(Timestamp::new(0, base));
        let (size, force_key) = ((v.width, v.height), first.force_key);
        Ok(Open { sheet, base, start, force_key, size, format: v.format, filled: 0, end: start })
    }

    /// Copies a picture to this column and row of a sheet.
    fn place(&self, to: &mut av::Frame, from: &av::Frame, column: u32, row: u32) -> Result<()> {
        for p in 0..from.plane_count() {
            let (width, height) = (from.row_bytes(p), from.plane_height(p));
            let whole = (self.columns as usize * width, self.rows as usize * height);
            // Where two pictures would share a sample or a byte, their planes do not make up the sheet's.
            let fits = whole == (to.row_bytes(p), to.plane_height(p));
            let (stride, from_stride, source) = (to.stride(p), from.stride(p), from.plane(p));
            let target = to.plane_mut(p).filter(|_| fits).ok_or_else(|| {
                let (width, height, format) = (from.width(), from.height(), from.format());
                Error::unsupported(format!(
                    "pictures of {width}x{height} in {format} cannot lie side by side"
                ))
            })?;
            let (left, top) = (column as usize * width, row as usize * height);
            for y in 0..height {
                let at = (top + y) * stride + left;
                target[at..at + width].copy_from_slice(&source[y * from_stride..][..width]);
            }
        }
        Ok(())
    }

    fn emit(&mut self, open: Open, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.made += 1;
        let mut frame = Frame::new(open.sheet, open.base);
        frame.pts = Some(open.start.ticks);
        frame.duration = (open.end.to(open.base).ticks - open.start.ticks).max(0);
        frame.force_key = open.force_key;
        out.emit(frame)
    }
}

impl Stage<Frame, Frame> for Sheet {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Frame>) -> Result<()> {
        let v = frame.video();
        let palette = v.format.descriptor().is_none_or(|d| d.has_palette);
        if frame.media().is_hardware() || palette {
            return Err(Error::unsupported(format!("a sheet is not made of {} pictures", v.format)));
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(&frame)?,
        };
        if (open.size, open.format) != ((v.width, v.height), v.format) {
            let ((width, height), format) = (open.size, open.format);
            let message = format!(
                "a picture of {}x{} in {} among those of {width}x{height} in {format}",
                v.width, v.height, v.format
            );
            return Err(Error::new(ErrorKind::Format, message));
        }
        let (column, row) = (open.filled % self.columns, open.filled / self.columns);
        self.place(&mut open.sheet, frame.media(), column, row)?;
        let start = frame.presentation().unwrap_or(open.end);
        open.end = sum(start, Timestamp::new(frame.duration.max(0), frame.base));
        (self.told)(Preview {
            start,
            end: open.end,
            sheet: self.made,
            x: column * v.width,
            y: row * v.height,
            width: v.width,
            height: v.height,
        });
        open.filled += 1;
        if open.filled == self.columns * self.rows {
            return self.emit(open, out);
        }
        self.open = Some(open);
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        match self.open.take() {
            Some(open) => self.emit(open, out),
            None => Ok(()),
        }
    }
}

/// How many sheets a second there are of `count` previews each that come at `rate`.
pub fn sheet_rate(rate: Rational, count: u32) -> Rational {
    let den = i64::from(rate.den).saturating_mul(i64::from(count.max(1)));
    Rational::new(rate.num, i32::try_from(den).unwrap_or(i32::MAX)).reduced()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::tests::{FPS, at, picture, run, sample};
    use crate::frame::Colour;
    use std::sync::{Arc, Mutex};

    type Previews = Arc<Mutex<Vec<Preview>>>;

    fn sheet(columns: u32, rows: u32) -> (Sheet, Previews) {
        let previews = Previews::default();
        let told = previews.clone();
        (Sheet::new(columns, rows, Box::new(move |p| told.lock().unwrap().push(p))), previews)
    }

    /// Picture `number`, of which every sample tells its place.
    fn numbered(format: &str, colour: Colour, number: i64) -> Frame {
        let value =
            move |p: usize, x: usize, y: usize| (40 + 20 * number as usize + 10 * p + 2 * y + x) as u16;
        at(picture(format, 4, 2, colour, value), number)
    }

    /// The bytes of a picture's row in a plane, and its rows.
    fn layout(format: &str, plane: usize) -> (usize, usize) {
        match (format, plane) {
            ("yuv420p", 1 | 2) => (2, 1),
            ("yuv422p", 1 | 2) => (2, 2),
            ("nv12", 1) => (4, 1),
            ("rgb24", _) => (12, 2),
            ("rgba", _) => (16, 2),
            _ => (4, 2),
        }
    }

    #[test]
    fn pictures_lie_row_by_row() {
        for (format, planes) in [
            ("yuv420p", 3),
            ("yuv422p", 3),
            ("yuv444p", 3),
            ("nv12", 2),
            ("rgb24", 1),
            ("rgba", 1),
            ("gray", 1),
        ] {
            let (mut stage, _) = sheet(3, 2);
            let out = run(&mut stage, (0..6).map(|n| numbered(format, Colour::default(), n))).unwrap();
            assert_eq!(out.len(), 1, "{format}");
            let v = out[0].video();
            assert_eq!((v.width, v.height, v.format.name()), (12, 4, format));
            for plane in 0..planes {
                let (width, rows) = layout(format, plane);
                for n in 0..6 {
                    let (left, top) = ((n % 3) * width, (n / 3) * rows);
                    for (x, y) in (0..width).flat_map(|x| (0..rows).map(move |y| (x, y))) {
                        let found = sample(&out[0], plane, left + x, top + y);
                        let wanted = (40 + 20 * n + 10 * plane + 2 * y + x) as u16;
                        assert_eq!(found, wanted, "{format}: plane {plane} of {n} at {x},{y}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_last_sheet_is_black_where_nothing_is() {
        let full = Colour { range: ColourRange::Full, ..Colour::default() };
        let limited = Colour { range: ColourRange::Limited, ..Colour::default() };
        for (format, colour, black) in [
            ("yuv420p", limited, vec![16, 128, 128]),
            ("yuv420p", full, vec![0, 128, 128]),
            ("nv12", limited, vec![16, 128]),
            ("rgb24", full, vec![0]),
            ("gbrp", full, vec![0, 0, 0]),
            ("yuva420p", limited, vec![16, 128, 128, 255]),
        ] {
            let (mut stage, previews) = sheet(2, 2);
            let out = run(&mut stage, (0..5).map(|n| numbered(format, colour, n))).unwrap();
            assert_eq!(out.len(), 2, "{format}");
            let last = out[1].media();
            assert_eq!((last.width(), last.height()), (8, 4), "{format}: as large as the others");
            for (plane, value) in black.iter().enumerate() {
                let (x, y) = (last.row_bytes(plane) - 1, last.plane_height(plane) - 1);
                assert_eq!(sample(&out[1], plane, x, y), *value, "{format}: plane {plane}");
                assert_eq!(sample(&out[1], plane, x, 0), *value, "{format}: plane {plane}, above");
                assert_ne!(sample(&out[1], plane, 0, 0), *value, "{format}: plane {plane}, the picture");
            }
            // A sheet has the time of its first picture.
            assert_eq!((out[0].pts, out[0].duration, out[0].base), (Some(0), 4, FPS), "{format}");
            assert_eq!((out[1].pts, out[1].duration), (Some(4), 1), "{format}");
            let told: Vec<_> = previews
                .lock()
                .unwrap()
                .iter()
                .map(|p| (p.sheet, p.x, p.y, p.start.ticks, p.end.ticks))
                .collect();
            let wanted =
                [(0, 0, 0, 0, 1), (0, 4, 0, 1, 2), (0, 0, 2, 2, 3), (0, 4, 2, 3, 4), (1, 0, 0, 4, 5)];
            assert_eq!(told, wanted, "{format}");
        }
    }

    #[test]
    fn what_does_not_lie_side_by_side_is_refused() {
        let odd = |number| at(picture("yuv420p", 5, 3, Colour::default(), |_, _, _| 0), number);
        let e = run(&mut sheet(2, 2).0, [odd(0)]).unwrap_err();
        assert!(e.message().contains("5x3 in yuv420p cannot lie side by side"), "{e}");
        let other = at(picture("yuv444p", 4, 2, Colour::default(), |_, _, _| 0), 1);
        let e = run(&mut sheet(2, 2).0, [numbered("yuv420p", Colour::default(), 0), other]).unwrap_err();
        assert!(e.message().contains("4x2 in yuv444p among those of 4x2 in yuv420p"), "{e}");
    }

    #[test]
    fn sheets_are_as_many_as_previews_allow() {
        assert_eq!(sheet_rate(Rational::new(1, 10), 100), Rational::new(1, 1000));
        assert_eq!(sheet_rate(Rational::new(30, 1), 6), Rational::new(5, 1));
    }
}
