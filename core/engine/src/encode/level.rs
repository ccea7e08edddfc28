//! Levels that are asked for, whoever encodes: a stream that says a level which its pictures are above is refused by
//! players that believe it, and most encoders write what they are told.

use crate::error::{Error, Result};
use crate::package::bitstream::vp9;
use crate::packet::Codec;
use crate::time::Rational;
use ghoststream_sys::nvenc as nv;

/// Refuses a level that `codec` does not have, or that pictures of `size` at `rate` (where that is known) are above.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] (`level: …`).
pub(crate) fn check(codec: &Codec, level: &str, size: (u32, u32), rate: Option<Rational>) -> Result<()> {
    let parts = rate.and_then(|r| Some((u32::try_from(r.num).ok()?, u32::try_from(r.den).ok()?)));
    let why = match codec {
        Codec::H264 => nv::not_of_level(nv::Codec::H264, level, size, parts),
        Codec::Hevc => nv::not_of_level(nv::Codec::Hevc, level, size, parts),
        Codec::Av1 => nv::not_of_level(nv::Codec::Av1, level, size, parts),
        Codec::Vp9 => vp9::not_of_level(level, size, rate.map_or(0.0, Rational::as_f64)),
        // Whoever encodes it knows.
        _ => None,
    };
    why.map_or(Ok(()), |why| Err(Error::invalid("level", why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_holds_its_pictures_or_is_refused() {
        let fps = |rate| Some(Rational::new(rate, 1));
        for (codec, level, size, rate) in [
            (Codec::H264, "4.0", (1920, 1080), fps(30)),
            (Codec::H264, "4.0", (1920, 1080), None),
            (Codec::Hevc, "4.1", (1920, 1080), fps(60)),
            (Codec::Av1, "2.0", (320, 180), fps(25)),
            (Codec::Vp9, "4", (1920, 1080), fps(30)),
            (Codec::Mpeg2, "99", (1920, 1080), fps(30)),
        ] {
            check(&codec, level, size, rate).unwrap_or_else(|e| panic!("{codec} {level}: {e}"));
        }
        for (codec, level, size, rate, why) in [
            (Codec::H264, "1.2", (1280, 720), None, "has 3600"),
            (Codec::H264, "4.0", (1920, 1080), fps(60), "a second"),
            (Codec::H264, "7.3", (64, 64), None, "there is no level 7.3"),
            (Codec::Hevc, "1.2", (64, 64), None, "there is no level 1.2"),
            (Codec::Av1, "2.3", (64, 64), None, "there is no level 2.3"),
            (Codec::Vp9, "1.3", (64, 64), None, "there is no level 1.3"),
            (Codec::Vp9, "1.0", (320, 180), None, "1.1"),
            (Codec::Vp9, "4", (1920, 1080), fps(60), "4.1"),
        ] {
            let e = check(&codec, level, size, rate).expect_err(level);
            assert!(e.message().starts_with("level: ") && e.message().contains(why), "{codec} {level}: {e}");
        }
    }
}
