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
        self.fit_pairs(width, height, (true, true))
    }

    /// As [`Shown::fit`], where columns and rows need to come in `pairs`; where not, odd sizes are as good as any.
    pub fn fit_pairs(&self, width: Option<u32>, height: Option<u32>, pairs: (bool, bool)) -> (u32, u32) {
        let near =
            |value: f64, paired: bool| if paired { even(value) } else { (value.round() as u32).max(1) };
        let own = |side: u32, paired: bool| if paired { (side & !1).max(2) } else { side };
        match (width, height) {
            (Some(w), Some(h)) => (w, h),
            (Some(w), None) => (w, near(f64::from(w) / self.aspect(), pairs.1)),
            (None, Some(h)) => (near(f64::from(h) * self.aspect(), pairs.0), h),
            (None, None) => (own(self.width, pairs.0), own(self.height, pairs.1)),
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
        let odd = square(853, 481);
        assert_eq!(odd.fit_pairs(None, None, (false, false)), (853, 481));
        assert_eq!(odd.fit_pairs(None, None, (true, false)), (852, 481));
        assert_eq!(odd.fit_pairs(Some(101), None, (false, false)), (101, 57));
    }

    #[test]
    fn anamorphic_pictures_keep_their_display_aspect() {
        let dvd = Shown { width: 720, height: 576, sample_aspect: Rational::new(64, 45) };
        assert_eq!(dvd.fit(None, Some(576)), (1024, 576));
    }
}
