//! Picture sizes.

use std::fmt;
use std::str::FromStr;

/// A picture size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Resolution {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Resolution {
    /// 854 × 480.
    pub const SD_480P: Resolution = Resolution::new(854, 480);
    /// 1280 × 720.
    pub const HD_720P: Resolution = Resolution::new(1280, 720);
    /// 1920 × 1080.
    pub const FHD_1080P: Resolution = Resolution::new(1920, 1080);
    /// 2560 × 1440.
    pub const QHD_1440P: Resolution = Resolution::new(2560, 1440);
    /// 3840 × 2160.
    pub const UHD_4K: Resolution = Resolution::new(3840, 2160);
    /// 7680 × 4320.
    pub const UHD_8K: Resolution = Resolution::new(7680, 4320);

    /// `width` × `height`.
    pub const fn new(width: u32, height: u32) -> Self {
        Resolution { width, height }
    }

    /// How many pixels a picture has.
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Width over height; 0 without a height.
    pub fn aspect_ratio(self) -> f64 {
        if self.height == 0 { 0.0 } else { f64::from(self.width) / f64::from(self.height) }
    }
}

impl Default for Resolution {
    fn default() -> Self {
        Resolution::FHD_1080P
    }
}

impl From<(u32, u32)> for Resolution {
    fn from((width, height): (u32, u32)) -> Self {
        Resolution { width, height }
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Resolution {
    type Err = String;

    /// `1920x1080`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |side: &str| side.trim().parse::<u32>().ok().filter(|s| *s > 0);
        text.split_once(['x', 'X'])
            .and_then(|(w, h)| Some(Resolution { width: parse(w)?, height: parse(h)? }))
            .ok_or_else(|| format!("{text:?} is not a size; write 1920x1080"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_and_read_alike() {
        for size in [Resolution::SD_480P, Resolution::UHD_8K, Resolution::default()] {
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        for bad in ["", "x", "1920", "0x1", "1x0", "-1x2", "1x2x3"] {
            assert!(bad.parse::<Resolution>().is_err(), "{bad}");
        }
        assert_eq!(Resolution::UHD_4K.pixels(), 8_294_400);
        assert!((Resolution::HD_720P.aspect_ratio() - 16.0 / 9.0).abs() < 1e-9);
    }
}
