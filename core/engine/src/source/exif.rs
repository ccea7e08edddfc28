//! How a photograph was held: the orientation that Exif keeps of it, which FFmpeg tells of decoded pictures only.

use super::open::local_path;
use crate::packet::{Codec, MediaKind, StreamInfo};
use crate::spec::SourceSpec;
use std::io::Read;

/// How much of a file is looked at: an `APP1` segment of JPEG, or what stands before the pixels of a PNG.
const HEAD: u64 = 256 << 10;

/// Notes of the one picture that `spec` is, if it is one, how it is to be turned.
pub(crate) fn turn(spec: &SourceSpec, streams: &mut [StreamInfo]) {
    let [StreamInfo { kind: MediaKind::Video, codec: Codec::Mjpeg | Codec::Png, video: Some(video), .. }] =
        streams
    else {
        return;
    };
    let mut head = Vec::new();
    let file = local_path(spec).and_then(|path| std::fs::File::open(path).ok());
    if file.is_none_or(|file| file.take(HEAD).read_to_end(&mut head).is_err()) {
        return;
    }
    if let Some((mirrored, degrees)) = orientation(&head).and_then(held) {
        (video.mirrored, video.rotation) = (mirrored, degrees);
    }
}

/// Whether a picture of an orientation is mirrored left to right, and by how many degrees it is turned clockwise then, to be upright
/// (Exif 2.32, 4.6.4 A).
fn held(orientation: u16) -> Option<(bool, f64)> {
    Some(match orientation {
        2 => (true, 0.0),
        3 => (false, 180.0),
        4 => (true, 180.0),
        5 => (true, 270.0),
        6 => (false, 90.0),
        7 => (true, 90.0),
        8 => (false, 270.0),
        _ => return None,
    })
}

fn orientation(file: &[u8]) -> Option<u16> {
    match file {
        [0xff, 0xd8, segments @ ..] => tiff(of_jpeg(segments)?),
        [0x89, b'P', b'N', b'G', _, _, _, _, chunks @ ..] => tiff(of_png(chunks)?),
        _ => None,
    }
}

fn of_jpeg(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (marker, length) = (rest.get(..2)?, rest.get(2..4)?);
        // From SOS on there are pixels.
        if marker[0] != 0xff || marker[1] == 0xda {
            return None;
        }
        let end = 2 + usize::from(u16::from_be_bytes(length.try_into().ok()?));
        let body = rest.get(4..end)?;
        match body.strip_prefix(b"Exif\0\0") {
            Some(tiff) if marker[1] == 0xe1 => return Some(tiff),
            _ => rest = &rest[end..],
        }
    }
}

fn of_png(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, kind) = (rest.get(..4)?, rest.get(4..8)?);
        let end = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?.checked_add(8)?;
        match kind {
            b"eXIf" => return rest.get(8..end),
            b"IDAT" => return None,
            _ => rest = rest.get(end.checked_add(4)?..)?,
        }
    }
}

/// `Orientation` of the first directory.
fn tiff(bytes: &[u8]) -> Option<u16> {
    const ORIENTATION: u16 = 0x0112;
    let little = match bytes.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let two = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    };
    let four = bytes.get(4..8)?.try_into().ok()?;
    let at =
        usize::try_from(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) }).ok()?;
    let entries = usize::from(short(at)?);
    let entry = (0..entries).map(|n| at + 2 + n * 12).find(|at| short(*at) == Some(ORIENTATION))?;
    short(entry + 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exif(little: bool, orientation: u16) -> Vec<u8> {
        let two = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let four = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let entry = |tag, value| [&two(tag)[..], &two(3), &four(1), &two(value), &[0, 0]].concat();
        let start: &[u8] = if little { b"II*\0" } else { b"MM\0*" };
        [start, &four(8), &two(2), &entry(0x0100, 7), &entry(0x0112, orientation), &four(0)].concat()
    }

    fn jpeg(exif: &[u8]) -> Vec<u8> {
        let segment = |kind: u8, body: &[u8]| {
            [&[0xff, kind][..], &(body.len() as u16 + 2).to_be_bytes(), body].concat()
        };
        let body = [&b"Exif\0\0"[..], exif].concat();
        [&[0xff, 0xd8][..], &segment(0xe0, b"JFIF\0rest"), &segment(0xe1, &body), &segment(0xda, b"pixels")]
            .concat()
    }

    #[test]
    fn what_files_say() {
        for little in [true, false] {
            for n in 1..=8 {
                assert_eq!(orientation(&jpeg(&exif(little, n))), Some(n));
            }
        }
        let chunk = |kind: &[u8; 4], body: &[u8]| {
            [&(body.len() as u32).to_be_bytes()[..], kind, body, b"crc!"].concat()
        };
        let png =
            [&b"\x89PNG\r\n\x1a\n"[..], &chunk(b"IHDR", b"x"), &chunk(b"eXIf", &exif(false, 8))].concat();
        assert_eq!(orientation(&png), Some(8));
        for whole in [png, jpeg(&exif(true, 6))] {
            for end in 0..whole.len() {
                // Nothing that is cut short is out of bounds.
                let _ = orientation(&whole[..end]);
            }
        }
        assert_eq!(orientation(b"\xff\xd8\xff\xdb\0\x02\xff\xda\0\x02"), None);
        assert_eq!((held(1), held(9), held(6)), (None, None, Some((false, 90.0))));
    }
}
