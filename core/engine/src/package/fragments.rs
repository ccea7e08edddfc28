//! An ordinary index for a fragmented MP4, made in place. While a file is made in fragments, it can be played whatever
//! happens; editors and players that seek prefer one index for the whole.
//!
//! The index (`moov`) is put behind the last fragment. Then the beginning of the old one, which describes fragments, is
//! overwritten by the header of an `mdat` that spans everything up to the new one: fragments are data now, and the index
//! points at the samples in them. Until that last write of 16 bytes the file is what it was before.

use super::boxes::Boxes;
use crate::error::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

/// The most samples of one run: a fragment is a second or so.
const MAX_RUN: u32 = 1 << 22;
/// Boxes of headers are small; more is damage.
const MAX_HEADER: u64 = 1 << 30;

/// Gives the fragmented file an ordinary index. Nothing happens to a file that has one already.
///
/// # Errors
/// [`ErrorKind::Format`] for what is no fragmented MP4; I/O errors. The file is then as it was.
pub(crate) fn index_fragments(file: &mut File) -> Result<()> {
    let Some(found) = scan(file)? else { return Ok(()) };
    let moov = new_moov(&found)?;
    let spanned = found.end.checked_sub(found.moov_at).ok_or_else(|| damaged("moov comes last"))?;
    let old_end = file.metadata()?.len();
    let written = (|| {
        file.set_len(found.end)?;
        file.seek(SeekFrom::Start(found.end))?;
        file.write_all(&moov)?;
        file.sync_data()
    })();
    if let Err(e) = written {
        // Whole fragments are left, as they were but for their own index.
        file.set_len(found.end.min(old_end))?;
        return Err(e.into());
    }
    let mut header = [0; 16];
    header[..4].copy_from_slice(&1u32.to_be_bytes());
    header[4..8].copy_from_slice(b"mdat");
    header[8..].copy_from_slice(&spanned.to_be_bytes());
    file.seek(SeekFrom::Start(found.moov_at))?;
    file.write_all(&header)?;
    Ok(())
}

/// What is in a file.
struct Found {
    moov_at: u64,
    moov: Vec<u8>,
    /// Where the last fragment ends.
    end: u64,
    tracks: BTreeMap<u32, Samples>,
}

/// What is known of one track's samples.
#[derive(Default)]
pub(super) struct Samples {
    /// Sizes in bytes.
    sizes: Vec<u32>,
    /// Durations in ticks: how many, how long.
    durations: Vec<(u32, u32)>,
    /// How much later than decoded samples are shown: how many, how much.
    pub(super) offsets: Vec<(u32, i32)>,
    /// Numbers from 1 of the samples at which decoding can begin.
    pub(super) sync: Vec<u32>,
    /// Where in the file runs of samples begin, and of how many.
    chunks: Vec<(u64, u32)>,
    /// Ticks of all samples together.
    pub(super) total: u64,
    /// When the last one has been shown, in ticks from the first's decoding.
    end: u64,
    /// Ticks of the first.
    pub(super) begin: Option<u64>,
}

impl Samples {
    fn push(&mut self, size: u32, duration: u32, offset: i32, sync: bool) {
        self.sizes.push(size);
        match self.durations.last_mut() {
            Some((n, d)) if *d == duration => *n += 1,
            _ => self.durations.push((1, duration)),
        }
        match self.offsets.last_mut() {
            Some((n, o)) if *o == offset => *n += 1,
            _ => self.offsets.push((1, offset)),
        }
        if sync {
            self.sync.push(self.sizes.len() as u32);
        }
        self.total = self.total.saturating_add(u64::from(duration));
        self.end = self.end.max(self.total.saturating_add_signed(i64::from(offset)));
    }

    /// Lets the last sample last until `start`, where the next fragment begins.
    fn until(&mut self, start: u64) {
        let begin = *self.begin.get_or_insert(start);
        let gap = start.saturating_sub(begin).saturating_sub(self.total);
        if gap == 0 || self.sizes.is_empty() {
            return;
        }
        let Some((n, last)) = self.durations.pop() else { return };
        if n > 1 {
            self.durations.push((n - 1, last));
        }
        let longer = u32::try_from(gap.saturating_add(last.into())).unwrap_or(u32::MAX);
        self.durations.push((1, longer));
        self.total = self.total.saturating_add(u64::from(longer.saturating_sub(last)));
        self.end = self.end.max(self.total);
    }
}

pub(super) fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Format, format!("not an index of fragments: {what}"))
}

/// Reads the headers of all fragments. `None` when there are none: the index is an ordinary one.
fn scan(file: &mut File) -> Result<Option<Found>> {
    let length = file.metadata()?.len();
    let mut at = 0;
    let mut moov = None;
    let mut end = 0;
    let mut tracks = BTreeMap::new();
    let mut defaults = BTreeMap::new();
    let mut fragments = 0;
    while at + 8 <= length {
        let mut header = [0; 16];
        file.seek(SeekFrom::Start(at))?;
        let read = usize::try_from((length - at).min(16)).unwrap_or(16);
        file.read_exact(&mut header[..read])?;
        let size = match be32(&header, 0)? {
            0 => length - at,
            1 if read == 16 => be64(&header, 8)?,
            n => u64::from(n),
        };
        let kind = &header[4..8];
        let Some(next) = at.checked_add(size).filter(|next| size >= 8 && *next <= length) else {
            // What a crash left of a fragment.
            break;
        };
        match kind {
            b"moov" if moov.is_none() => {
                let body = whole(file, at, size)?;
                defaults = trex(&body)?;
                moov = Some((at, body));
            }
            b"moof" => {
                let body = whole(file, at, size)?;
                moof(&body, at, &defaults, &mut tracks)?;
                fragments += 1;
            }
            b"mdat" if fragments > 0 => end = next,
            _ => {}
        }
        at = next;
    }
    let Some((moov_at, moov)) = moov else { return Err(damaged("no moov")) };
    Ok((fragments > 0 && end > 0).then_some(Found { moov_at, moov, end, tracks }))
}

/// The box at `at`, header included.
pub(super) fn whole(file: &mut File, at: u64, size: u64) -> Result<Vec<u8>> {
    if size > MAX_HEADER {
        return Err(damaged("a header is too large"));
    }
    file.seek(SeekFrom::Start(at))?;
    let mut body = vec![0; size as usize];
    file.read_exact(&mut body)?;
    Ok(body)
}

pub(super) fn be32(data: &[u8], at: usize) -> Result<u32> {
    let bytes = data.get(at..at + 4).and_then(|b| b.try_into().ok()).ok_or_else(|| damaged("cut short"))?;
    Ok(u32::from_be_bytes(bytes))
}

/// The version of a box that has one: in version 1, times have 64 bits.
pub(super) fn is_long(part: &[u8]) -> Result<bool> {
    part.get(8).map(|version| *version == 1).ok_or_else(|| damaged("cut short"))
}

pub(super) fn be64(data: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from(be32(data, at)?) << 32 | u64::from(be32(data, at + 4)?))
}

/// The boxes in `data`, which begins behind the header of theirs: type and whole box.
pub(super) fn children(data: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let mut found = Vec::new();
    let mut rest = data;
    while rest.len() >= 8 {
        let size = be32(rest, 0)? as usize;
        let one = rest.get(..size).filter(|b| b.len() >= 8).ok_or_else(|| damaged("a box is cut short"))?;
        found.push((&one[4..8], one));
        rest = &rest[size..];
    }
    Ok(found)
}

pub(super) fn child<'a>(of: &'a [u8], kind: &[u8; 4]) -> Result<Option<&'a [u8]>> {
    Ok(children(of.get(8..).unwrap_or_default())?.into_iter().find(|(k, _)| *k == kind).map(|(_, b)| b))
}

/// What samples of a track have unless a fragment says otherwise.
#[derive(Clone, Copy, Default)]
pub(super) struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

pub(super) fn trex(moov: &[u8]) -> Result<BTreeMap<u32, Defaults>> {
    let mut found = BTreeMap::new();
    let Some(mvex) = child(moov, b"mvex")? else { return Ok(found) };
    for (_, trex) in children(&mvex[8..])?.into_iter().filter(|(k, _)| *k == b"trex") {
        let defaults = Defaults { duration: be32(trex, 20)?, size: be32(trex, 24)?, flags: be32(trex, 28)? };
        found.insert(be32(trex, 12)?, defaults);
    }
    Ok(found)
}

pub(super) fn moof(
    moof: &[u8],
    at: u64,
    defaults: &BTreeMap<u32, Defaults>,
    tracks: &mut BTreeMap<u32, Samples>,
) -> Result<()> {
    for (_, traf) in children(&moof[8..])?.into_iter().filter(|(k, _)| *k == b"traf") {
        let parts = children(&traf[8..])?;
        let part = |kind: &[u8]| parts.iter().find(|(k, _)| *k == kind).map(|(_, b)| *b);
        let tfhd = part(b"tfhd").ok_or_else(|| damaged("a fragment of no track"))?;
        let (flags, id) = (be32(tfhd, 8)? & 0xff_ffff, be32(tfhd, 12)?);
        let mut now = defaults.get(&id).copied().unwrap_or_default();
        let mut next = 16;
        let mut base = at;
        if flags & 0x1 != 0 {
            base = be64(tfhd, next)?;
            next += 8;
        }
        if flags & 0x2 != 0 {
            next += 4;
        }
        for (bit, field) in [(0x8, &mut now.duration), (0x10, &mut now.size), (0x20, &mut now.flags)] {
            if flags & bit != 0 {
                *field = be32(tfhd, next)?;
                next += 4;
            }
        }
        let samples = tracks.entry(id).or_default();
        if let Some(tfdt) = part(b"tfdt") {
            samples.until(if is_long(tfdt)? { be64(tfdt, 12)? } else { u64::from(be32(tfdt, 12)?) });
        }
        let mut place = base;
        for (_, run) in parts.iter().filter(|(k, _)| *k == b"trun") {
            place = trun(run, base, place, now, samples)?;
        }
    }
    Ok(())
}

/// Takes a run of samples; gives the place behind it.
fn trun(run: &[u8], base: u64, place: u64, defaults: Defaults, samples: &mut Samples) -> Result<u64> {
    let (flags, count) = (be32(run, 8)? & 0xff_ffff, be32(run, 12)?);
    if count > MAX_RUN {
        return Err(damaged("a run is too long"));
    }
    let mut next = 16;
    let mut take = || {
        let value = be32(run, next);
        next += 4;
        value
    };
    let mut place = place;
    if flags & 0x1 != 0 {
        place = base.saturating_add_signed(i64::from(take()? as i32));
    }
    let first_flags = if flags & 0x4 != 0 { Some(take()?) } else { None };
    if count > 0 {
        samples.chunks.push((place, count));
    }
    for i in 0..count {
        let duration = if flags & 0x100 != 0 { take()? } else { defaults.duration };
        let size = if flags & 0x200 != 0 { take()? } else { defaults.size };
        let own = if flags & 0x400 != 0 { take()? } else { defaults.flags };
        let offset = if flags & 0x800 != 0 { take()? as i32 } else { 0 };
        let own = first_flags.filter(|_| i == 0).unwrap_or(own);
        // sample_is_non_sync_sample
        samples.push(size, duration, offset, own & 0x1_0000 == 0);
        place = place.saturating_add(u64::from(size));
    }
    Ok(place)
}

/// The index of all samples.
fn new_moov(found: &Found) -> Result<Vec<u8>> {
    let mvhd = child(&found.moov, b"mvhd")?.ok_or_else(|| damaged("no mvhd"))?;
    let scale = be32(mvhd, if is_long(mvhd)? { 28 } else { 20 })?;
    let mut longest = 0;
    let mut traks = Vec::new();
    for (kind, part) in children(&found.moov[8..])? {
        if kind != b"trak" {
            continue;
        }
        let tkhd = child(part, b"tkhd")?.ok_or_else(|| damaged("no tkhd"))?;
        let id = be32(tkhd, if is_long(tkhd)? { 28 } else { 20 })?;
        let empty = Samples::default();
        let samples = found.tracks.get(&id).unwrap_or(&empty);
        let (trak, length) = new_trak(part, samples, scale)?;
        longest = longest.max(length);
        traks.push(trak);
    }
    let mut traks = traks.into_iter();
    let mut moov = Boxes::default();
    let mut result = Ok(());
    moov.container(b"moov", |b| {
        result = children(&found.moov[8..]).map(|parts| {
            for (kind, part) in parts {
                match kind {
                    b"mvhd" => {
                        b.bytes(&with_duration(part, longest, 24, 32));
                    }
                    b"trak" => {
                        b.bytes(&traks.next().unwrap_or_default());
                    }
                    b"mvex" => {}
                    _ => {
                        b.bytes(part);
                    }
                }
            }
        });
    });
    result.map(|()| moov.into_bytes())
}

/// `part` with its duration at `short` (version 0) or `long` (version 1) set.
fn with_duration(part: &[u8], duration: u64, short: usize, long: usize) -> Vec<u8> {
    let mut part = part.to_vec();
    let (at, bytes) = match part.get(8) {
        Some(1) => (long, duration.to_be_bytes().to_vec()),
        // All ones say "unknown", which is the best that 32 bits can say of more.
        _ => (short, u32::try_from(duration).unwrap_or(u32::MAX).to_be_bytes().to_vec()),
    };
    if let Some(field) = part.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(&bytes);
    }
    part
}

/// A track with its samples, and how long it is in ticks of the film.
fn new_trak(trak: &[u8], samples: &Samples, scale: u32) -> Result<(Vec<u8>, u64)> {
    let mdia = child(trak, b"mdia")?.ok_or_else(|| damaged("no mdia"))?;
    let mdhd = child(mdia, b"mdhd")?.ok_or_else(|| damaged("no mdhd"))?;
    let track_scale = u64::from(be32(mdhd, if is_long(mdhd)? { 28 } else { 20 })?).max(1);
    let to_film = |ticks: u64| {
        let film = u128::from(ticks) * u128::from(scale) / u128::from(track_scale);
        u64::try_from(film).unwrap_or(u64::MAX)
    };
    let elst = match child(trak, b"edts")? {
        Some(edts) => child(edts, b"elst")?,
        None => None,
    };
    let (edits, length) = match elst {
        Some(elst) => {
            let (edits, length) = new_elst(elst, samples.end, to_film)?;
            (Some(edits), length)
        }
        None => (None, to_film(samples.end)),
    };
    let mut out = Boxes::default();
    let mut result = Ok(());
    out.container(b"trak", |b| {
        result = (|| {
            for (kind, part) in children(&trak[8..])? {
                match (kind, &edits) {
                    (b"tkhd", _) => b.bytes(&with_duration(part, length, 28, 36)),
                    (b"edts", Some(edits)) => b.container(b"edts", |b| {
                        b.bytes(edits);
                    }),
                    (b"mdia", _) => b.bytes(&new_mdia(part, samples)?),
                    _ => b.bytes(part),
                };
            }
            Ok(())
        })();
    });
    result.map(|()| (out.into_bytes(), length))
}

/// The edits of a track, the last of which lasts to its end; and how long all are in ticks of the film.
fn new_elst(elst: &[u8], end: u64, to_film: impl Fn(u64) -> u64) -> Result<(Vec<u8>, u64)> {
    let long = is_long(elst)?;
    let (entry, count) = (if long { 20 } else { 12 }, be32(elst, 12)?);
    let mut length = 0u64;
    let mut out = Boxes::default();
    let mut result = Ok(());
    out.full(b"elst", 1, 0, |b| {
        b.u32(count);
        result = (|| {
            for i in 0..count as usize {
                let at = 16 + i * entry;
                let (duration, time) = if long {
                    (be64(elst, at)?, be64(elst, at + 8)? as i64)
                } else {
                    (u64::from(be32(elst, at)?), i64::from(be32(elst, at + 4)? as i32))
                };
                let last = i + 1 == count as usize;
                let duration = match u64::try_from(time) {
                    Ok(skipped) if last => to_film(end.saturating_sub(skipped)),
                    _ => duration,
                };
                length = length.saturating_add(duration);
                b.u64(duration).u64(time as u64).u32(be32(elst, at + entry - 4)?);
            }
            Ok(())
        })();
    });
    result.map(|()| (out.into_bytes(), length))
}

fn new_mdia(mdia: &[u8], samples: &Samples) -> Result<Vec<u8>> {
    let mut out = Boxes::default();
    let mut result = Ok(());
    out.container(b"mdia", |b| {
        result = (|| {
            for (kind, part) in children(&mdia[8..])? {
                match kind {
                    b"mdhd" => b.bytes(&with_duration(part, samples.total, 24, 32)),
                    b"minf" => b.bytes(&new_minf(part, samples)?),
                    _ => b.bytes(part),
                };
            }
            Ok(())
        })();
    });
    result.map(|()| out.into_bytes())
}

fn new_minf(minf: &[u8], samples: &Samples) -> Result<Vec<u8>> {
    let mut out = Boxes::default();
    let mut result = Ok(());
    out.container(b"minf", |b| {
        result = (|| {
            for (kind, part) in children(&minf[8..])? {
                match kind {
                    b"stbl" => {
                        let stsd = child(part, b"stsd")?.ok_or_else(|| damaged("no stsd"))?;
                        b.container(b"stbl", |b| table(b, stsd, samples))
                    }
                    _ => b.bytes(part),
                };
            }
            Ok(())
        })();
    });
    result.map(|()| out.into_bytes())
}

fn table(b: &mut Boxes, stsd: &[u8], samples: &Samples) {
    b.bytes(stsd);
    b.full(b"stts", 0, 0, |b| {
        b.u32(samples.durations.len() as u32);
        for (n, duration) in &samples.durations {
            b.u32(*n).u32(*duration);
        }
    });
    if samples.offsets.iter().any(|(_, o)| *o != 0) {
        let version = u8::from(samples.offsets.iter().any(|(_, o)| *o < 0));
        b.full(b"ctts", version, 0, |b| {
            b.u32(samples.offsets.len() as u32);
            for (n, offset) in &samples.offsets {
                b.u32(*n).i32(*offset);
            }
        });
    }
    if samples.sync.len() < samples.sizes.len() {
        b.full(b"stss", 0, 0, |b| {
            b.u32(samples.sync.len() as u32);
            for n in &samples.sync {
                b.u32(*n);
            }
        });
    }
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (i, (_, count)) in samples.chunks.iter().enumerate() {
        if runs.last().is_none_or(|(_, n)| n != count) {
            runs.push((i as u32 + 1, *count));
        }
    }
    b.full(b"stsc", 0, 0, |b| {
        b.u32(runs.len() as u32);
        for (first, n) in &runs {
            b.u32(*first).u32(*n).u32(1);
        }
    });
    b.full(b"stsz", 0, 0, |b| {
        b.u32(0).u32(samples.sizes.len() as u32);
        for size in &samples.sizes {
            b.u32(*size);
        }
    });
    b.full(b"co64", 0, 0, |b| {
        b.u32(samples.chunks.len() as u32);
        for (at, _) in &samples.chunks {
            b.u64(*at);
        }
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn fragmented(path: &std::path::Path) -> Vec<u8> {
        let made = std::process::Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                "testsrc2=s=64x48:r=25:d=1",
                "-f",
                "lavfi",
                "-i",
                "sine=d=1",
            ])
            .args(["-c:v", "libx264", "-bf", "2", "-g", "10", "-c:a", "aac"])
            .args(["-movflags", "+frag_keyframe+delay_moov+default_base_moof", "-y"])
            .arg(path)
            .status()
            .expect("the FFmpeg command, whose libraries this links");
        assert!(made.success());
        std::fs::read(path).unwrap()
    }

    fn index(path: &std::path::Path, data: &[u8]) -> Result<()> {
        std::fs::write(path, data).unwrap();
        index_fragments(&mut File::options().read(true).write(true).open(path).unwrap())
    }

    #[test]
    fn damage_is_an_error_and_what_has_an_index_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let good = fragmented(&path);
        index(&path, &good).unwrap();
        let indexed = std::fs::read(&path).unwrap();
        assert_ne!(indexed, good);
        index(&path, &indexed).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), indexed, "once is enough");
        assert!(index(&path, b"").is_err() && index(&path, b"nothing of the kind at all").is_err());
        // Whatever a byte says, it is an error or an index, and ends.
        let headers = good.windows(4).position(|w| w == b"mdat").unwrap();
        for at in (0..headers).step_by(3) {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = index(&path, &bad);
            }
        }
        for length in (0..good.len()).step_by(97) {
            let _ = index(&path, &good[..length]);
        }
    }
}
