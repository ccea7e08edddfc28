//! [`Bandwidth`]: what `BANDWIDTH`, `AVERAGE-BANDWIDTH` and DASH's `bandwidth` say, measured from segments.

use crate::time::Timestamp;

/// Bits per second of a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bandwidth {
    /// Of the whole.
    pub average: u64,
    /// Of the worst stretch: the largest rate of any run of segments between 0.5 and 1.5 target durations long
    /// (RFC 8216, "peak segment bit rate"), or of a single segment where none is that long.
    pub peak: u64,
}

impl Bandwidth {
    /// Measures segments, given as bytes and duration in playback order, against the playlist's target duration.
    pub fn measure(segments: &[(u64, Timestamp)], target: Timestamp) -> Bandwidth {
        let sizes: Vec<(u64, f64)> = segments.iter().map(|(bytes, d)| (*bytes, d.seconds())).collect();
        let rate = |bytes: u64, seconds: f64| {
            if seconds > 0.0 { (bytes as f64 * 8.0 / seconds).ceil() as u64 } else { 0 }
        };
        let (bytes, seconds) = sizes.iter().fold((0, 0.0), |(b, s), (x, y)| (b + x, s + y));
        let (low, high) = (target.seconds() * 0.5, target.seconds() * 1.5);
        let mut peak = 0;
        for from in 0..sizes.len() {
            let (mut bytes, mut seconds) = (0, 0.0);
            for (size, duration) in &sizes[from..] {
                bytes += size;
                seconds += duration;
                if seconds > high {
                    break;
                }
                if seconds >= low {
                    peak = peak.max(rate(bytes, seconds));
                }
            }
        }
        if peak == 0 {
            peak = sizes.iter().map(|(b, d)| rate(*b, *d)).max().unwrap_or(0);
        }
        let average = rate(bytes, seconds);
        Bandwidth { average, peak: peak.max(average) }
    }
}

impl std::ops::Add for Bandwidth {
    type Output = Bandwidth;

    /// Of renditions that play together: an upper bound for the peak.
    fn add(self, other: Bandwidth) -> Bandwidth {
        Bandwidth { average: self.average + other.average, peak: self.peak + other.peak }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;

    #[test]
    fn short_segments_do_not_make_the_peak() {
        let s = |ms| Timestamp::new(ms, Rational::new(1, 1000));
        let segments = [(1000, s(2000)), (1000, s(2000)), (900, s(100))];
        let b = Bandwidth::measure(&segments, s(2000));
        assert_eq!(b.average, 5659);
        // The last 2.1 s together, not 72 kbit/s for 0.1 s.
        assert_eq!(b.peak, 7239);
        assert_eq!(Bandwidth::measure(&[], s(2000)), Bandwidth::default());
    }
}
