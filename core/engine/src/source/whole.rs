//! Whether a file is all there that plays as far as it goes. The fragments of an MP4 come one after another without a list of all, so a
//! reader does not notice where one that is cut short ends; its boxes say how long they are, and some say what is to follow. So do the
//! heads of Matroska and RIFF.

use crate::time::{Rational, Timestamp};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// The largest head of a file, or index of segments, that is looked into.
const MAX_BOX: u64 = 64 << 20;

/// What a fragmented MP4 says of itself.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Whole {
    /// What it lists and does not have.
    pub missing: Option<String>,
    /// How long it is, by its head (`mehd`).
    pub length: Option<Timestamp>,
}

/// Looks at the boxes of the file at `path`, at most `boxes` of them. `None` if it is no fragmented MP4.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn look(path: &str, boxes: usize) -> io::Result<Option<Whole>> {
    let mut file = File::open(path)?;
    let total = file.metadata()?.len();
    scan(&mut file, total, boxes)
}

/// What a Matroska or RIFF file at `path` lacks, by the length in its head; `None` for others, and where it says none.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn lacks(path: &str) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = [0; 128];
    let got = read_at(&mut file, 0, &mut head)?;
    Ok(short_of(&head[..got], len))
}

/// The same, of a file of `len` bytes that begins with `head`.
fn short_of(head: &[u8], len: u64) -> Option<String> {
    let (name, size) = match head {
        [b'R', b'I', b'F', b'F', size @ ..] => ("RIFF chunk", riff_size(size)?),
        [0x1a, 0x45, 0xdf, 0xa3, rest @ ..] => ("Segment", segment_size(rest)?),
        _ => return None,
    };
    (size > len).then(|| format!("its {name} needs {size} bytes of the file and {len} are there"))
}

fn scan(file: &mut (impl Read + Seek), total: u64, boxes: usize) -> io::Result<Option<Whole>> {
    let (mut whole, mut fragmented) = (Whole::default(), false);
    // Where what an index of segments lists ends.
    let mut listed = 0;
    let mut at = 0;
    for _ in 0..boxes {
        let left = total.saturating_sub(at);
        if left == 0 {
            break;
        }
        let mut head = [0; 16];
        let got = read_at(file, at, &mut head)?;
        if got < 8 && !begins_a_box(&head[..got]) {
            // Padding, or somebody's line feed.
            break;
        }
        if got < 8 {
            whole.missing = Some(format!("its last {left} bytes are the beginning of a box"));
            break;
        }
        let name = [head[4], head[5], head[6], head[7]];
        if at == 0 && !matches!(&name, b"ftyp" | b"styp") {
            return Ok(None);
        }
        let size = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
            0 => left,
            1 if got == 16 => u64::from_be_bytes([
                head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15],
            ]),
            n => u64::from(n),
        };
        if size < 8 || !name.iter().all(|c| c.is_ascii_graphic() || matches!(c, b' ' | 0xa9)) {
            // No box: for the demuxer to judge.
            break;
        }
        fragmented |= &name == b"moof";
        if size > left && matches!(&name, b"mfra" | b"free" | b"skip") {
            // No media: an index of what is there, or nothing.
            break;
        }
        if size > left {
            let name = String::from_utf8_lossy(&name);
            whole.missing = Some(format!("its last box ({name}) needs {size} bytes and {left} are there"));
            break;
        }
        if matches!(&name, b"moov" | b"sidx") && size <= MAX_BOX {
            let mut body = vec![0; size as usize];
            let got = read_at(file, at, &mut body)?;
            let body = body.get(8..got).unwrap_or_default();
            match &name {
                b"moov" => {
                    fragmented |= children(body).any(|(name, _)| name == *b"mvex");
                    whole.length = length(body);
                }
                _ => listed = listed.max(segments(body).map_or(0, |bytes| (at + size).saturating_add(bytes))),
            }
        }
        at += size;
    }
    if whole.missing.is_none() && listed > total {
        whole.missing = Some(format!("its index (sidx) lists {listed} bytes and {total} are there"));
    }
    Ok(fragmented.then_some(whole))
}

/// Fills `out` from `at` on; how much there was.
pub(super) fn read_at(file: &mut (impl Read + Seek), at: u64, out: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut got = 0;
    while let Some(rest) = out.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// Up to where a RIFF file (WAV, AVI) says that it goes, if it does. Some count the chunk's own head too.
fn riff_size(after_name: &[u8]) -> Option<u64> {
    let size = u32::from_le_bytes(after_name.get(..4)?.try_into().ok()?);
    // What programs write that cannot go back: nothing, all, or 2 GiB less or more some heads (sox, mplayer, arecord).
    Some(u64::from(size)).filter(|size| !matches!(size, 0 | 0x7fff_f000..=0x8000_0fff | 0xffff_ffff))
}

/// Up to where the Segment of a Matroska file goes, if it says so: one that is being made, or was never finished, does not.
fn segment_size(after_id: &[u8]) -> Option<u64> {
    let (header, length) = ebml_number(after_id)?;
    let at = length.checked_add(usize::try_from(header).ok()?)?;
    let rest = after_id.get(at..)?.strip_prefix(&[0x18, 0x53, 0x80, 0x67])?;
    let (size, length) = ebml_number(rest)?;
    // All bits set: not known.
    (size != (1 << (7 * length)) - 1).then_some((4 + at + 4 + length) as u64 + size)
}

/// A number of EBML: as many zero bits in front as bytes follow the first. Gives it and its length.
fn ebml_number(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.first()?.leading_zeros() as usize + 1;
    let field = bytes.get(..length).filter(|_| length <= 8)?;
    let all = field.iter().fold(0, |n, b| n << 8 | u64::from(*b));
    Some((all & ((1 << (7 * length)) - 1), length))
}

/// The boxes in `body`, with what is in them.
fn children(body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let size = number(rest, 0, 4)? as usize;
        let name = rest.get(4..8)?.try_into().ok()?;
        let inner = rest.get(8..size)?;
        rest = rest.get(size..)?;
        Some((name, inner))
    })
}

/// The number of `bytes` bytes at `at`.
fn number(from: &[u8], at: usize, bytes: usize) -> Option<u64> {
    let field = from.get(at..at.checked_add(bytes)?)?;
    Some(field.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
}

/// Whether less than a box's head may be the beginning of one: of its size, which is less than 16 MiB where one cannot see more.
fn begins_a_box(tail: &[u8]) -> bool {
    match tail {
        [a, b, c, d, ..] => matches!(u32::from_be_bytes([*a, *b, *c, *d]), 1 | 8..),
        _ => tail.first() == Some(&0),
    }
}

/// The length that the head says all fragments have together.
fn length(moov: &[u8]) -> Option<Timestamp> {
    let inside = |body, wanted: &[u8; 4]| children(body).find(|(name, _)| name == wanted).map(|(_, b)| b);
    let (mvhd, mehd) = (inside(moov, b"mvhd")?, inside(inside(moov, b"mvex")?, b"mehd")?);
    // The first byte is the version: 1 has times of 64 bits.
    let scale = number(mvhd, if mvhd.first()? == &1 { 20 } else { 12 }, 4)?;
    let ticks = number(mehd, 4, if mehd.first()? == &1 { 8 } else { 4 })?;
    let base = Rational::new(1, i32::try_from(scale).ok().filter(|scale| *scale > 0)?);
    Some(Timestamp::new(i64::try_from(ticks).ok().filter(|ticks| *ticks > 0)?, base))
}

/// How many bytes behind itself an index of segments lists.
fn segments(sidx: &[u8]) -> Option<u64> {
    let wide = sidx.first()? == &1;
    // Version and flags, stream, timescale; earliest time and first offset; reserved, count.
    let first = number(sidx, if wide { 20 } else { 16 }, if wide { 8 } else { 4 })?;
    let at = if wide { 28 } else { 20 };
    let count = number(sidx, at + 2, 2)? as usize;
    // A reference has 31 bits of size in its first 4 of 12 bytes.
    (0..count)
        .try_fold(first, |sum, n| Some(sum.saturating_add(number(sidx, at + 4 + 12 * n, 4)? & 0x7fff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn boxed(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], name, body].concat()
    }

    fn told(file: &[u8], boxes: usize) -> Option<Whole> {
        scan(&mut Cursor::new(file), file.len() as u64, boxes).unwrap()
    }

    /// A head that says that 90 s follow, and two fragments with an index in front.
    fn film() -> Vec<u8> {
        let mvhd = [&[0; 12][..], &1000u32.to_be_bytes(), &[0; 84]].concat();
        let mehd = [&[0; 4][..], &90_000u32.to_be_bytes()].concat();
        let mvex = boxed(b"mvex", &boxed(b"mehd", &mehd));
        let fragment = [boxed(b"moof", &[0; 40]), boxed(b"mdat", &[0; 100])].concat();
        let reference = [&(fragment.len() as u32).to_be_bytes()[..], &[0; 8]].concat();
        let sidx = [&[0; 4 + 8 + 8 + 2][..], &[0, 2], &reference, &reference].concat();
        let moov = boxed(b"moov", &[boxed(b"mvhd", &mvhd), mvex].concat());
        [boxed(b"ftyp", b"isom"), moov, boxed(b"sidx", &sidx), fragment.clone(), fragment].concat()
    }

    #[test]
    fn a_whole_one_lacks_nothing_and_says_how_long_it_is() {
        let length = Some(Timestamp::new(90_000, Rational::new(1, 1000)));
        assert_eq!(told(&film(), 100), Some(Whole { missing: None, length }));
    }

    #[test]
    fn one_that_is_cut_anywhere_says_so() {
        let film = film();
        let first = film.len() - 2 * 156;
        for cut in first + 1..film.len() {
            let missing = told(&film[..cut], 100).unwrap().missing.expect("cut");
            let between = cut == first + 48 || cut == first + 156 || cut == first + 156 + 48;
            assert_eq!(missing.contains("sidx"), between, "{cut}: {missing}");
        }
        // Where not all boxes are looked at, an index tells.
        let missing = told(&film[..film.len() - 1], 4).unwrap().missing.expect("cut");
        assert!(missing.contains("sidx"), "{missing}");
    }

    #[test]
    fn a_few_bytes_behind_the_last_box_are_padding_or_the_beginning_of_one() {
        for (tail, is_cut) in
            [(&b"\n"[..], false), (&[0; 4], false), (&[0; 7], false), (&[0], true), (&[0, 0, 1, 2], true)]
        {
            let film = [&film()[..], tail].concat();
            assert_eq!(told(&film, 100).unwrap().missing.is_some(), is_cut, "{tail:?}");
        }
    }

    #[test]
    fn an_index_that_points_beyond_everything_is_one_of_more_than_there_is() {
        let reference = [&10u32.to_be_bytes()[..], &[0; 8]].concat();
        let first = u64::MAX.to_be_bytes();
        let sidx = [&[1, 0, 0, 0][..], &[0; 8 + 8], &first, &[0, 0, 0, 1], &reference].concat();
        let fragment = [boxed(b"moof", &[0; 40]), boxed(b"mdat", &[0; 100])].concat();
        let film = [boxed(b"ftyp", b"isom"), boxed(b"sidx", &sidx), fragment].concat();
        assert!(told(&film, 100).unwrap().missing.unwrap().contains("sidx"));
    }

    #[test]
    fn an_index_behind_the_media_may_be_cut() {
        let film = [film(), boxed(b"mfra", &[0; 50])].concat();
        assert_eq!(told(&film[..film.len() - 20], 100).unwrap().missing, None);
    }

    #[test]
    fn heads_of_matroska_and_riff_say_how_much_there_is() {
        let told = |file: &[u8]| short_of(file, file.len() as u64);
        // EBML with a header of 3 bytes; a Segment of 32 that is there, is not, is of unknown length.
        let matroska = |size: &[u8], content: usize| {
            [&[0x1a, 0x45, 0xdf, 0xa3, 0x83, 1, 2, 3, 0x18, 0x53, 0x80, 0x67][..], size, &vec![0; content]]
                .concat()
        };
        let riff = |size: u32| [b"RIFF", &size.to_le_bytes()[..], b"WAVEfmt "].concat();
        assert!(told(&matroska(&[0x40, 32], 31)).unwrap().starts_with("its Segment needs 46 bytes"));
        assert!(told(&riff(0x40)).unwrap().starts_with("its RIFF chunk needs 64 bytes"));
        for whole in [
            matroska(&[0x40, 32], 32),
            matroska(&[0xff], 5),
            matroska(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 5),
            riff(8),
            riff(0xffff_ffff),
            riff(0),
            // As sox and arecord write to a pipe.
            riff(0x7fff_f024),
            riff(0x8000_0024),
        ] {
            assert_eq!(told(&whole), None, "{whole:x?}");
        }
    }

    #[test]
    fn other_files_are_none_of_it() {
        assert_eq!(told(b"RIFF....WAVE", 100), None);
        let plain = [boxed(b"ftyp", b"isom"), boxed(b"moov", &[]), boxed(b"mdat", b"1234")].concat();
        assert_eq!(told(&plain, 100), None);
        assert_eq!(told(&[], 100), None);
    }
}
