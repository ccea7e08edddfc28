//! Time codes of pictures (SMPTE ST 12-1), as cameras and editors write them: the hour, minute, second and frame that a
//! recording's first picture has.

use crate::packet::StreamInfo;
use crate::time::Rational;
use std::fmt;

/// Whether a tag of this name holds a time code: containers write it as they like.
pub(crate) fn is_timecode(key: &str) -> bool {
    key.eq_ignore_ascii_case("timecode")
}

/// Frames of a day in which no number is left out, at the rate that counts most of them.
const DAY_HOURS: u64 = 24;

/// A time code, of pictures at a given rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timecode {
    /// Frames since 00:00:00:00, none left out.
    frames: u64,
    /// Frame numbers of a second.
    count: u64,
    /// Numbers are left out so that hours are those of a clock (29.97 and 59.94 frames a second).
    drop: bool,
}

/// How many numbers a second of `rate` has, and whether some may be left out.
fn counted(rate: Rational) -> Option<(u64, bool)> {
    let count = rate.as_f64().round();
    (rate.is_positive() && (1.0..=1000.0).contains(&count))
        .then_some((count as u64, rate.reduced().den == 1001 && (count as u64).is_multiple_of(30)))
}

impl Timecode {
    /// That of the picture which is shown `start` seconds from the beginning of `stream`, whose file has the tags `file`.
    pub fn of(stream: &StreamInfo, file: &[(String, String)], start: f64) -> Option<Timecode> {
        let rate = stream.video.as_ref()?.frame_rate?;
        let (_, text) = stream.metadata.iter().chain(file).find(|(key, _)| is_timecode(key))?;
        Some(Timecode::read(text, rate)?.later(start, rate))
    }

    /// Reads `HH:MM:SS:FF` of pictures at `rate`; with `;` or `.` before the frame numbers are left out. `None` for anything
    /// that is no time code of such pictures.
    pub fn read(text: &str, rate: Rational) -> Option<Timecode> {
        let (count, may_drop) = counted(rate)?;
        let (clock, frame) = text.trim().rsplit_once([':', ';', '.'])?;
        let drop = text.contains([';', '.']);
        let parts: Vec<u64> = clock.split([':', ';']).map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let ([h, m, s], frame) = (<[u64; 3]>::try_from(parts).ok()?, frame.parse::<u64>().ok()?);
        if h >= DAY_HOURS || m > 59 || s > 59 || frame >= count || drop && !may_drop {
            return None;
        }
        let minutes = h * 60 + m;
        let left_out = if drop { count / 15 * (minutes - minutes / 10) } else { 0 };
        let frames = ((minutes * 60 + s) * count + frame).checked_sub(left_out)?;
        Some(Timecode { frames, count, drop })
    }

    /// That of the picture which is shown `seconds` later, at `rate`.
    pub fn later(self, seconds: f64, rate: Rational) -> Timecode {
        const ROUNDING: f64 = 1e-6;
        Timecode { frames: self.frames + (seconds.max(0.0) * rate.as_f64() + ROUNDING) as u64, ..self }
    }

    /// The same moment counted in pictures at `rate`; `None` where they cannot be counted.
    pub fn counted_at(self, rate: Rational) -> Option<Timecode> {
        let (count, may_drop) = counted(rate)?;
        if count == self.count {
            return Some(Timecode { drop: self.drop && may_drop, ..self });
        }
        // Its own clock says how far the day is; the numbers of the other rate begin there.
        let text = self.to_string();
        let (clock, frame) = text.rsplit_once([':', ';'])?;
        let frame = frame.parse::<u64>().ok()? * count / self.count;
        // Two or four numbers of a minute's first second do not exist where some are left out.
        let drop = self.drop && may_drop;
        let separator = if drop { ';' } else { ':' };
        let first = if drop && clock.ends_with(":00") && !clock.ends_with("0:00") { count / 15 } else { 0 };
        Timecode::read(&format!("{clock}{separator}{:02}", frame.max(first)), rate)
    }
}

impl fmt::Display for Timecode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut n = self.frames;
        if self.drop {
            // Numbers are left out at each minute's beginning but every tenth's.
            let left_out = self.count / 15;
            let minute = self.count * 60 - left_out;
            let ten = minute * 10 + left_out;
            let (tens, rest) = (n / ten, n % ten);
            n += left_out * 9 * tens;
            n += left_out * (rest.saturating_sub(left_out) / minute);
        }
        let (frame, seconds) = (n % self.count, n / self.count);
        let (s, m, h) = (seconds % 60, seconds / 60 % 60, seconds / 3600 % DAY_HOURS);
        let separator = if self.drop { ';' } else { ':' };
        write!(f, "{h:02}:{m:02}:{s:02}{separator}{frame:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAL: Rational = Rational::new(25, 1);
    const NTSC: Rational = Rational::new(30000, 1001);

    fn read(text: &str, rate: Rational) -> Timecode {
        Timecode::read(text, rate).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_is_read_is_written() {
        for (text, rate) in [
            ("01:02:03:04", PAL),
            ("23:59:59:24", PAL),
            ("00:00:00:00", NTSC),
            ("00:01:00;02", NTSC),
            ("00:10:00;00", NTSC),
            ("10:59:59;29", NTSC),
            ("00:09:00;04", Rational::new(60000, 1001)),
        ] {
            assert_eq!(read(text, rate).to_string(), text);
        }
        for (text, rate) in [("nonsense", PAL), ("1:2:3", PAL), ("00:00:00:25", PAL), ("24:00:00:00", PAL)] {
            assert_eq!(Timecode::read(text, rate), None, "{text}");
        }
        assert_eq!(Timecode::read("00:00:00;01", PAL), None, "25 numbers leave none out");
        assert_eq!(Timecode::read("00:00:00:01", Rational::new(0, 0)), None);
    }

    #[test]
    fn later_ones_leave_out_what_their_rate_leaves_out() {
        assert_eq!(read("01:00:00:20", PAL).later(1.2, PAL).to_string(), "01:00:02:00");
        assert_eq!(read("23:59:59:24", PAL).later(0.04, PAL).to_string(), "00:00:00:00");
        let frame = 1001.0 / 30000.0;
        assert_eq!(read("00:00:59;29", NTSC).later(frame, NTSC).to_string(), "00:01:00;02");
        assert_eq!(read("00:09:59;29", NTSC).later(frame, NTSC).to_string(), "00:10:00;00");
        // An hour of such numbers is an hour of the clock, to 3.6 ms (ST 12-1, 5.2.2).
        assert_eq!(read("00:00:00;00", NTSC).later(3600.0, NTSC).to_string(), "01:00:00;00");
        assert_eq!(read("00:00:00:00", NTSC).later(3600.0, NTSC).to_string(), "00:59:56:12");
    }

    #[test]
    fn another_rate_counts_from_the_same_moment() {
        assert_eq!(
            read("01:02:03:10", PAL).counted_at(Rational::new(50, 1)).unwrap().to_string(),
            "01:02:03:20"
        );
        assert_eq!(read("01:02:03;10", NTSC).counted_at(PAL).unwrap().to_string(), "01:02:03:08");
        let twice = Rational::new(60000, 1001);
        assert_eq!(read("00:01:00;02", NTSC).counted_at(twice).unwrap().to_string(), "00:01:00;04");
        assert_eq!(read("00:01:00;02", NTSC).counted_at(NTSC).unwrap().to_string(), "00:01:00;02");
        assert_eq!(read("01:02:03:10", PAL).counted_at(Rational::new(0, 1)), None);
    }
}
