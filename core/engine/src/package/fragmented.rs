//! What is where in a fragmented MP4: a recording is played from the file that it was written to, while it is written and after.
//!
//! A recording that is complete has got an ordinary index, which made data of its fragments (`fragments`): only the
//! first 16 bytes of the index of fragments were overwritten, and what stood there is known. So both are read alike.

use super::fragments::{Defaults, Samples, be32, be64, child, children, damaged, is_long, moof, trex, whole};
use crate::error::Result;
use crate::time::{MICROSECONDS, Rational, Rounding, rescale};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// The most fragments that are looked at: a day of those of a second.
const MOST: usize = 100_000;

/// A fragmented MP4, or one that was and has an ordinary index now. Its times begin at 0.
#[derive(Clone, Debug)]
pub struct FragmentedFile {
    /// What a player needs before any fragment: `ftyp` and `moov`.
    pub init: Bytes,
    /// Its whole fragments, in order.
    pub fragments: Vec<Fragment>,
}

/// A `moof` with its `mdat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Microseconds from the file's beginning, of the pictures if it has some.
    pub start: i64,
    /// Length in microseconds.
    pub duration: i64,
    /// Whether it begins with a key frame.
    pub key: bool,
}

/// The header of a box: its type, where what it holds begins, and where it ends.
struct Header {
    kind: [u8; 4],
    end: u64,
}

fn header(file: &mut File, at: u64, length: u64) -> Result<Option<Header>> {
    if at + 8 > length {
        return Ok(None);
    }
    let mut bytes = [0; 16];
    let read = usize::try_from((length - at).min(16)).unwrap_or(16);
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes[..read])?;
    let size = match be32(&bytes, 0)? {
        0 => length - at,
        1 if read == 16 => be64(&bytes, 8)?,
        n => u64::from(n),
    };
    let kind = [bytes[4], bytes[5], bytes[6], bytes[7]];
    Ok(at.checked_add(size).filter(|_| size >= 8).map(|end| Header { kind, end }))
}

impl FragmentedFile {
    /// Reads the headers of `file`; what is written to it meanwhile may be seen or not, but never by half.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Format`] for what is no such file, or is being completed at this moment; I/O errors.
    pub fn read(file: &mut File) -> Result<FragmentedFile> {
        let length = file.metadata()?.len();
        let first = header(file, 0, length)?.filter(|h| &h.kind == b"ftyp" && h.end <= length);
        let begin = first.ok_or_else(|| damaged("no ftyp"))?.end;
        let outer = header(file, begin, length)?.ok_or_else(|| damaged("no moov"))?;
        let (moov, until) = match &outer.kind {
            b"moov" if outer.end <= length => (whole(file, begin, outer.end - begin)?, length),
            b"mdat" if outer.end <= length => (restored(file, begin, outer.end)?, outer.end),
            _ => return Err(damaged("no moov at the beginning")),
        };
        if moov.get(4..8) != Some(b"moov") {
            // It was completed at this very moment.
            return Err(damaged("its index changed"));
        }
        let mut at = begin + moov.len() as u64;
        let defaults = trex(&moov)?;
        if defaults.is_empty() {
            return Err(damaged("no fragments"));
        }
        let (lead, scale) = lead(&moov)?;
        let mut init = whole(file, 0, begin)?;
        init.extend_from_slice(&moov);
        let mut fragments: Vec<Fragment> = Vec::new();
        let mut shift = None;
        let mut open = None;
        while let Some(found) = header(file, at, until)?.filter(|h| h.end <= until) {
            match &found.kind {
                b"moof" => {
                    let body = whole(file, at, found.end - at)?;
                    open = Some((at, times(&body, at, &defaults, lead)?));
                }
                b"mdat" => {
                    if let Some((offset, Some((shown, ticks, key)))) = open.take() {
                        let shift = *shift.get_or_insert(shown);
                        let micros = |ticks: i64| rescale(ticks, scale, MICROSECONDS, Rounding::Nearest);
                        fragments.push(Fragment {
                            offset,
                            length: found.end - offset,
                            start: micros(shown.saturating_sub(shift)),
                            duration: micros(ticks),
                            key,
                        });
                    }
                    if fragments.len() > MOST {
                        return Err(damaged("too many fragments"));
                    }
                }
                _ => {}
            }
            at = found.end;
        }
        // What the samples say does not count where the next fragment says when it begins.
        for i in 1..fragments.len() {
            let next = fragments[i].start;
            let now = &mut fragments[i - 1];
            let step = next.saturating_sub(now.start);
            if (1..now.duration.max(1).saturating_mul(2)).contains(&step) {
                now.duration = step;
            }
        }
        Ok(FragmentedFile { init: init.into(), fragments })
    }

    /// Length in microseconds.
    pub fn duration(&self) -> i64 {
        self.fragments.last().map_or(0, |f| f.start.saturating_add(f.duration))
    }
}

/// The index of fragments that was made the beginning of an `mdat` which goes to `end`.
fn restored(file: &mut File, begin: u64, end: u64) -> Result<Vec<u8>> {
    let mut version = [0];
    file.seek(SeekFrom::Start(begin + 16))?;
    file.read_exact(&mut version)?;
    let mvhd: u32 = if version[0] == 1 { 120 } else { 108 };
    let mut at = begin + 8 + u64::from(mvhd);
    loop {
        let next = header(file, at, end)?.ok_or_else(|| damaged("no fragments in it"))?;
        match &next.kind {
            b"moof" => break,
            b"trak" | b"mvex" | b"udta" | b"meta" | b"iods" if next.end <= end => at = next.end,
            _ => return Err(damaged("no fragments in it")),
        }
    }
    let size = at - begin;
    let mut moov = whole(file, begin, size)?;
    let length = u32::try_from(size).map_err(|_| damaged("a header is too large"))?;
    moov[..4].copy_from_slice(&length.to_be_bytes());
    moov[4..8].copy_from_slice(b"moov");
    moov[8..12].copy_from_slice(&mvhd.to_be_bytes());
    moov[12..16].copy_from_slice(b"mvhd");
    Ok(moov)
}

/// The track whose times count, and its clock: the first with pictures, or the first.
fn lead(moov: &[u8]) -> Result<(u32, Rational)> {
    let mut found = None;
    for (_, trak) in children(&moov[8..])?.into_iter().filter(|(kind, _)| *kind == b"trak") {
        let tkhd = child(trak, b"tkhd")?.ok_or_else(|| damaged("no tkhd"))?;
        let id = be32(tkhd, if is_long(tkhd)? { 28 } else { 20 })?;
        let mdia = child(trak, b"mdia")?.ok_or_else(|| damaged("no mdia"))?;
        let mdhd = child(mdia, b"mdhd")?.ok_or_else(|| damaged("no mdhd"))?;
        let scale = be32(mdhd, if is_long(mdhd)? { 28 } else { 20 })?;
        let hdlr = child(mdia, b"hdlr")?.ok_or_else(|| damaged("no hdlr"))?;
        let pictures = hdlr.get(16..20) == Some(b"vide");
        if pictures || found.is_none() {
            let scale = i32::try_from(scale).ok().filter(|s| *s > 0);
            let scale = scale.ok_or_else(|| damaged("a clock that does not tick"))?;
            found = Some((id, Rational::new(1, scale)));
        }
        if pictures {
            break;
        }
    }
    found.ok_or_else(|| damaged("no tracks"))
}

/// Of a fragment's samples of track `lead`: when the first is shown, how long all of them are, whether the first is a key
/// frame. `None` when there are none.
fn times(
    body: &[u8],
    at: u64,
    defaults: &BTreeMap<u32, Defaults>,
    lead: u32,
) -> Result<Option<(i64, i64, bool)>> {
    let mut tracks: BTreeMap<u32, Samples> = BTreeMap::new();
    moof(body, at, defaults, &mut tracks)?;
    Ok(tracks.get(&lead).and_then(|samples| {
        let (_, shown) = samples.offsets.first()?;
        let decode = i64::try_from(samples.begin?).ok()?;
        let ticks = i64::try_from(samples.total).ok()?;
        Some((decode.saturating_add(i64::from(*shown)), ticks, samples.sync.first() == Some(&1)))
    }))
}

#[cfg(test)]
mod tests {
    use super::super::fragments::{index_fragments, tests::fragmented};
    use super::*;

    fn open(path: &std::path::Path) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn a_file_is_the_same_before_and_after_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let data = fragmented(&path);
        let before = FragmentedFile::read(&mut open(&path)).unwrap();
        // 25 pictures, a key frame every 10.
        let starts: Vec<i64> = before.fragments.iter().map(|f| f.start).collect();
        assert_eq!(starts, [0, 400_000, 800_000]);
        assert!(before.fragments.iter().all(|f| f.key));
        assert_eq!(before.duration(), 1_000_000);
        let of = |f: &Fragment| &data[f.offset as usize..(f.offset + f.length) as usize];
        assert!(before.fragments.iter().all(|f| &of(f)[4..8] == b"moof"));
        assert_eq!(before.init, data[..before.fragments[0].offset as usize]);
        index_fragments(&mut open(&path)).unwrap();
        assert_ne!(std::fs::read(&path).unwrap()[..data.len()], data[..]);
        let after = FragmentedFile::read(&mut open(&path)).unwrap();
        assert_eq!((after.init, after.fragments), (before.init, before.fragments));
    }

    #[test]
    fn damage_is_an_error_or_fewer_fragments() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let good = fragmented(&path);
        let whole = FragmentedFile::read(&mut open(&path)).unwrap();
        index_fragments(&mut open(&path)).unwrap();
        let indexed = std::fs::read(&path).unwrap();
        for data in [&good, &indexed] {
            let headers = data.windows(4).skip(64).position(|w| w == b"mdat").unwrap() + 64;
            for at in (0..headers).step_by(3) {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut bad = data.clone();
                    bad[at] = value;
                    std::fs::write(&path, &bad).unwrap();
                    // It ends, whatever it says.
                    let _ = FragmentedFile::read(&mut open(&path));
                }
            }
        }
        // What was written so far when it was looked at.
        for length in (0..good.len()).step_by(97) {
            std::fs::write(&path, &good[..length]).unwrap();
            let Ok(part) = FragmentedFile::read(&mut open(&path)) else { continue };
            let count = part.fragments.len();
            for (part, whole) in part.fragments.iter().zip(&whole.fragments) {
                assert_eq!((part.offset, part.length, part.start), (whole.offset, whole.length, whole.start));
            }
            assert!(count <= whole.fragments.len());
        }
    }
}
