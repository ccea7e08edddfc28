//! What PNG files say of their colour.

/// The first bytes of every PNG.
const SIGNATURE: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
/// FFmpeg's `gAMA` of the transfer functions of BT.601, 709 and 2020: a gamma of 1/1.961.
const OF_VIDEO: [u8; 4] = 50_994_u32.to_be_bytes();
/// A `sRGB` chunk: length, type, perceptual intent, CRC (PNG, third edition, 11.3.2.5).
const SRGB: [u8; 13] = *b"\0\0\0\x01sRGB\0\xae\xce\x1c\xe9";

/// `png` as a picture of sRGB, where it says to have the transfer function of video: players show such video with a display's own
/// curve, but browsers correct a PNG's, which then is lighter than the film that it is of. What says else stays, and so does
/// what is no PNG.
pub(super) fn of_film(png: &[u8]) -> Option<Vec<u8>> {
    let rest = png.strip_prefix(&SIGNATURE)?;
    let (chunks, pictures) = before_the_pixels(rest)?;
    let data = |kind: &[u8; 4]| chunks.iter().find(|c| c.kind == kind).map(|c| c.data);
    let of_video = match (data(b"iCCP"), data(b"cICP"), data(b"gAMA"), data(b"cHRM")) {
        // A profile says more than all of these.
        (Some(_), ..) => false,
        // Primaries and transfer by H.273; FFmpeg 8 writes them.
        (None, Some([1 | 2 | 5 | 6 | 7, 1 | 6 | 14 | 15, ..]), ..) => true,
        (None, Some(_), ..) => false,
        (None, None, Some(gamma), None) => gamma == OF_VIDEO,
        (None, None, Some(gamma), Some(primaries)) => gamma == OF_VIDEO && !is_wide(primaries),
        (None, None, None, _) => false,
    };
    if !of_video {
        return None;
    }
    let mut out = Vec::with_capacity(png.len());
    out.extend_from_slice(&SIGNATURE);
    let others = chunks.iter().filter(|c| !matches!(c.kind, b"cICP" | b"gAMA" | b"cHRM" | b"sRGB"));
    // The first chunk is `IHDR`, by the format.
    for (n, chunk) in others.enumerate() {
        out.extend_from_slice(chunk.whole);
        if n == 0 {
            out.extend_from_slice(&SRGB);
        }
    }
    out.extend_from_slice(pictures);
    Some(out)
}

/// Whether `cHRM` names a red that BT.709 and BT.601 do not have (x of 0.64 and 0.63, P3 0.68, BT.2020 0.708).
fn is_wide(primaries: &[u8]) -> bool {
    let red = primaries.get(8..12).and_then(|x| x.try_into().ok()).map_or(0, u32::from_be_bytes);
    red > 65_000
}

struct Chunk<'a> {
    kind: &'a [u8],
    data: &'a [u8],
    whole: &'a [u8],
}

/// The chunks in front of the first `IDAT`, and everything from there.
fn before_the_pixels(mut rest: &[u8]) -> Option<(Vec<Chunk<'_>>, &[u8])> {
    let mut chunks = Vec::new();
    loop {
        let (length, kind) = (rest.get(..4)?, rest.get(4..8)?);
        if kind == b"IDAT" {
            return Some((chunks, rest));
        }
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let end = length.checked_add(12)?;
        let whole = rest.get(..end)?;
        chunks.push(Chunk { kind, data: &whole[8..8 + length], whole });
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
        [&(data.len() as u32).to_be_bytes()[..], kind, data, b"crc!"].concat()
    }

    #[test]
    fn the_curve_of_video_is_not_a_files() {
        let (head, pixels) = (chunk(b"IHDR", b"12345"), [chunk(b"IDAT", b"x"), chunk(b"IEND", b"")].concat());
        let (text, srgb) = (chunk(b"tEXt", b"p"), SRGB.to_vec());
        let gamma = |gamma: u32| chunk(b"gAMA", &gamma.to_be_bytes());
        let primaries = |red: u32| chunk(b"cHRM", &[&[7; 8][..], &red.to_be_bytes(), &[7; 20]].concat());
        let cicp = |primaries, transfer| chunk(b"cICP", &[primaries, transfer, 0, 1]);
        let file = |chunks: &[Vec<u8>]| [&SIGNATURE[..], &head, &chunks.concat(), &pixels].concat();
        for said in [
            &[primaries(64_000), gamma(50_994), text.clone()][..],
            &[gamma(50_994), text.clone()],
            &[cicp(1, 1), primaries(64_000), text.clone(), gamma(50_994)],
            &[text.clone(), cicp(6, 6)],
        ] {
            let made = of_film(&file(said)).unwrap();
            assert_eq!(made, file(&[srgb.clone(), text.clone()]));
            for end in 0..file(said).len() - pixels.len() {
                assert_eq!(of_film(&file(said)[..end]), None);
            }
        }
        for said in [
            &[text.clone()][..],
            &[gamma(45_455)],
            &[primaries(70_800), gamma(50_994)],
            &[chunk(b"iCCP", b"p"), gamma(50_994)],
            &[cicp(9, 16), gamma(50_994)],
            &[cicp(9, 14)],
        ] {
            assert_eq!(of_film(&file(said)), None);
        }
        assert_eq!(of_film(b"\xff\xd8\xff"), None);
    }
}
