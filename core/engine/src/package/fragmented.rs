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

/// Fragments of one file, put at other times of another one that begins with the same `ftyp` and `moov`.
#[derive(Clone, Debug)]
pub struct Retimer {
    /// Ticks per second of each track, by its number.
    clocks: BTreeMap<u32, Rational>,
    /// Of the next fragment.
    number: u32,
}

impl Retimer {
    /// For fragments behind `init`.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Format`] for what is none.
    pub fn new(init: &[u8]) -> Result<Retimer> {
        let moov = children(init)?.into_iter().find(|(kind, _)| *kind == b"moov");
        let (_, moov) = moov.ok_or_else(|| damaged("no moov"))?;
        let mut clocks = BTreeMap::new();
        for (_, trak) in children(&moov[8..])?.into_iter().filter(|(kind, _)| *kind == b"trak") {
            let (id, clock) = clock(trak)?;
            clocks.insert(id, clock);
        }
        Ok(Retimer { clocks, number: 1 })
    }

    /// Moves the fragments in `data` by `micros`, not before 0, and numbers them on.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Format`] for damaged fragments, and where the clock of one cannot count that far.
    pub fn retime(&mut self, data: &mut [u8], micros: i64) -> Result<()> {
        for moof in inside(data, 0, data.len())?.into_iter().filter(|b| &b.kind == b"moof") {
            for part in inside(data, moof.body, moof.end)? {
                match &part.kind {
                    b"mfhd" => {
                        write(data, part.body + 4, &self.number.to_be_bytes())?;
                        self.number = self.number.wrapping_add(1).max(1);
                    }
                    b"traf" => self.track(data, &part, micros)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn track(&self, data: &mut [u8], traf: &Inside, micros: i64) -> Result<()> {
        let parts = inside(data, traf.body, traf.end)?;
        let of = |kind: &[u8; 4]| parts.iter().find(|p| &p.kind == kind);
        let (Some(tfhd), Some(tfdt)) = (of(b"tfhd"), of(b"tfdt")) else { return Ok(()) };
        let id = be32(&data[..tfhd.end], tfhd.body + 4)?;
        let clock = *self.clocks.get(&id).ok_or_else(|| damaged("a fragment of no track"))?;
        let (at, long) = (tfdt.body + 4, data[tfdt.body..tfdt.end].first() == Some(&1));
        let was = if long { be64(&data[..tfdt.end], at)? } else { u64::from(be32(&data[..tfdt.end], at)?) };
        let step = rescale(micros, MICROSECONDS, clock, Rounding::Nearest);
        let now = i64::try_from(was).unwrap_or(i64::MAX).saturating_add(step).max(0).unsigned_abs();
        match long {
            true => write(&mut data[..tfdt.end], at, &now.to_be_bytes()),
            false => {
                let now = u32::try_from(now).map_err(|_| damaged("its clock cannot count that far"))?;
                write(&mut data[..tfdt.end], at, &now.to_be_bytes())
            }
        }
    }
}

/// Whether two `ftyp` and `moov` describe the same tracks: number, clock and coding of each. When each track begins is not
/// asked: of two recordings of one stream, one may have caught its sound some milliseconds later.
///
/// # Errors
/// [`crate::ErrorKind::Format`] for what has no tracks.
pub fn same_tracks(one: &[u8], other: &[u8]) -> Result<bool> {
    let tracks = |init| -> Result<Vec<(u32, Rational, Vec<u8>)>> {
        let moov = children(init)?.into_iter().find(|(kind, _)| *kind == b"moov");
        let (_, moov) = moov.ok_or_else(|| damaged("no moov"))?;
        let traks = children(&moov[8..])?.into_iter().filter(|(kind, _)| *kind == b"trak");
        traks
            .map(|(_, trak)| {
                let (id, clock) = clock(trak)?;
                let mut at = trak;
                for name in [b"mdia", b"minf", b"stbl", b"stsd"] {
                    at = child(at, name)?.ok_or_else(|| damaged("a track without a description"))?;
                }
                Ok((id, clock, at.to_vec()))
            })
            .collect()
    };
    Ok(tracks(one)? == tracks(other)?)
}

/// A box in memory: where what it holds begins, and where it ends.
struct Inside {
    kind: [u8; 4],
    body: usize,
    end: usize,
}

/// The boxes between two places.
fn inside(data: &[u8], mut at: usize, end: usize) -> Result<Vec<Inside>> {
    let mut all = Vec::new();
    while at + 8 <= end {
        let kind = [data[at + 4], data[at + 5], data[at + 6], data[at + 7]];
        let (size, head) = match be32(data, at)? {
            0 => (end - at, 8),
            1 => (usize::try_from(be64(data, at + 8)?).unwrap_or(usize::MAX), 16),
            n => (n as usize, 8),
        };
        let next = at.checked_add(size).filter(|next| *next <= end && size >= head);
        let next = next.ok_or_else(|| damaged("a box that does not end"))?;
        all.push(Inside { kind, body: at + head, end: next });
        at = next;
    }
    Ok(all)
}

fn write(data: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    let place = data.get_mut(at..at + bytes.len()).ok_or_else(|| damaged("a box that is too short"))?;
    place.copy_from_slice(bytes);
    Ok(())
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
        let mdia = child(trak, b"mdia")?.ok_or_else(|| damaged("no mdia"))?;
        let hdlr = child(mdia, b"hdlr")?.ok_or_else(|| damaged("no hdlr"))?;
        let pictures = hdlr.get(16..20) == Some(b"vide");
        if pictures || found.is_none() {
            found = Some(clock(trak)?);
        }
        if pictures {
            break;
        }
    }
    found.ok_or_else(|| damaged("no tracks"))
}

/// A track's number, and its clock.
fn clock(trak: &[u8]) -> Result<(u32, Rational)> {
    let tkhd = child(trak, b"tkhd")?.ok_or_else(|| damaged("no tkhd"))?;
    let id = be32(tkhd, if is_long(tkhd)? { 28 } else { 20 })?;
    let mdia = child(trak, b"mdia")?.ok_or_else(|| damaged("no mdia"))?;
    let mdhd = child(mdia, b"mdhd")?.ok_or_else(|| damaged("no mdhd"))?;
    let scale = i32::try_from(be32(mdhd, if is_long(mdhd)? { 28 } else { 20 })?).ok().filter(|s| *s > 0);
    let scale = scale.ok_or_else(|| damaged("a clock that does not tick"))?;
    Ok((id, Rational::new(1, scale)))
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
    fn fragments_can_be_put_at_another_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let data = fragmented(&path);
        let whole = FragmentedFile::read(&mut open(&path)).unwrap();
        let of = |f: &Fragment| data[f.offset as usize..(f.offset + f.length) as usize].to_vec();
        // The last one first, as if it had begun the file; the others two seconds later.
        let mut retimer = Retimer::new(&whole.init).unwrap();
        let mut out = whole.init.to_vec();
        for (fragment, by) in [(2, -800_000), (0, 2_000_000), (1, 2_000_000)] {
            let mut piece = of(&whole.fragments[fragment]);
            retimer.retime(&mut piece, by).unwrap();
            out.extend(piece);
        }
        std::fs::write(&path, &out).unwrap();
        let moved = FragmentedFile::read(&mut open(&path)).unwrap();
        let starts: Vec<i64> = moved.fragments.iter().map(|f| f.start).collect();
        assert_eq!(starts, [0, 2_000_000, 2_400_000]);
        // Damage ends in an error, or in other numbers, and never in more bytes.
        let good = of(&whole.fragments[0]);
        for at in 0..good.len().min(400) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = retimer.retime(&mut bad, 1);
                assert_eq!(bad.len(), good.len());
            }
        }
        assert!(Retimer::new(&good).is_err());
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
