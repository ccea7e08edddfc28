//! Sizes: display aspect, fitting, even dimensions.

use crate::frame::VideoParams;
use crate::packet::VideoInfo;
use crate::time::Rational;

/// A picture's size and pixel shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shown {
    pub width: u32,
    pub height: u32,
    pub sample_aspect: Rational,
}

impl Shown {
    /// The source as it is shown (`rotate`: metadata is applied).
    pub fn of(video: &VideoInfo, rotate: bool) -> Shown {
        let aspect = square_unless_known(video.sample_aspect);
        let quarter = (video.rotation / 90.0).round() as i64;
        if rotate && quarter.rem_euclid(2) == 1 {
            Shown { width: video.height, height: video.width, sample_aspect: aspect.inverse() }
        } else {
            Shown { width: video.width, height: video.height, sample_aspect: aspect }
        }
    }

    /// A frame as it is stored.
    pub fn stored(frame: &VideoParams) -> Shown {
        Shown {
            width: frame.width,
            height: frame.height,
            sample_aspect: square_unless_known(frame.sample_aspect),
        }
    }

    /// Display aspect ratio.
    pub fn aspect(&self) -> f64 {
        f64::from(self.width.max(1)) * self.sample_aspect.as_f64() / f64::from(self.height.max(1))
    }

    /// The size that was asked for, completed by the display aspect ratio; even, at least 2×2. Without either side it
    /// is the source's own, made even by leaving out one row or column.
    pub fn fit(&self, width: Option<u32>, height: Option<u32>) -> (u32, u32) {
        match (width, height) {
            (Some(w), Some(h)) => (w, h),
            (Some(w), None) => (w, even(f64::from(w) / self.aspect())),
            (None, Some(h)) => (even(f64::from(h) * self.aspect()), h),
            (None, None) => ((self.width & !1).max(2), (self.height & !1).max(2)),
        }
    }
}

fn square_unless_known(aspect: Rational) -> Rational {
    if aspect.is_positive() { aspect } else { Rational::new(1, 1) }
}

/// The nearest even number, at least 2.
pub(crate) fn even(value: f64) -> u32 {
    ((value / 2.0).round() as u32).saturating_mul(2).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(width: u32, height: u32) -> Shown {
        Shown { width, height, sample_aspect: Rational::new(1, 1) }
    }

    #[test]
    fn sixteen_by_nine_at_480_is_854() {
        assert_eq!(square(1920, 1080).fit(None, Some(480)), (854, 480));
        assert_eq!(square(1920, 1080).fit(Some(640), None), (640, 360));
        assert_eq!(square(853, 481).fit(None, None), (852, 480));
        assert_eq!(square(1, 1).fit(None, None), (2, 2));
    }

    #[test]
    fn anamorphic_pictures_keep_their_display_aspect() {
        let dvd = Shown { width: 720, height: 576, sample_aspect: Rational::new(64, 45) };
        assert_eq!(dvd.fit(None, Some(576)), (1024, 576));
    }
}
