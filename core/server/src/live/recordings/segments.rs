//! The segments that files of recordings are played in: of fragmented MP4 ranges of fragments, named by where they are; of others
//! times, named by those.

use super::catalogue::Recorded;
use ghoststream::package::FragmentedFile;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Shorter segments are joined, in microseconds.
pub(super) const SEGMENT: i64 = 2_000_000;
/// The largest segment that is given.
pub(super) const MOST: u64 = 1 << 28;

/// The segments of a file whose notes say where they begin, as [`super::Recordings::parts`] gives them.
pub(super) fn timed(file: &Recorded, from: i64, to: i64) -> Vec<(String, i64, i64)> {
    let last = file.keys.last().copied().unwrap_or(0);
    let end = file.duration.max(last.saturating_add(1));
    let ends = file.keys.iter().skip(1).copied().chain([end]);
    let wanted = file.keys.iter().copied().zip(ends).filter(|(begin, until)| *until > from && *begin < to);
    let named = |(begin, until): (i64, i64)| {
        // Where more is in the file than was told it belongs to the last one.
        let behind = if begin == last { SEGMENT } else { 0 };
        (format!("{begin}-{}.m4s", until.saturating_add(behind)), begin, until - begin)
    };
    wanted.map(named).collect()
}

/// The times in the name of a segment, `Some(None)` for the init segment's, `None` for what is neither.
pub(super) fn timed_of(piece: &str) -> Option<Option<(i64, i64)>> {
    if piece == "init.mp4" {
        return Some(None);
    }
    let (from, to) = piece.strip_suffix(".m4s")?.split_once('-')?;
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (0..to).contains(&from).then_some(Some((from, to)))
}

/// A segment: a range of a file, and when it is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub offset: u64,
    pub length: u64,
    pub start: i64,
    pub duration: i64,
}

/// The segments of a file that have what is between two of its times. They begin at key frames.
pub(super) fn pieces(file: &FragmentedFile, from: i64, to: i64) -> Vec<Piece> {
    let fragments = &file.fragments;
    let first = fragments.iter().rposition(|f| f.key && f.start <= from);
    let first = first.or_else(|| fragments.iter().position(|f| f.key)).unwrap_or(fragments.len());
    let mut pieces: Vec<Piece> = Vec::new();
    for fragment in &fragments[first..] {
        let whole = pieces.last().is_none_or(|p| p.duration >= SEGMENT);
        if fragment.key && fragment.start >= to {
            break;
        }
        match pieces.last_mut() {
            Some(piece) if !(fragment.key && whole) => {
                piece.length = fragment.offset + fragment.length - piece.offset;
                piece.duration = fragment.start + fragment.duration - piece.start;
            }
            _ => pieces.push(Piece {
                offset: fragment.offset,
                length: fragment.length,
                start: fragment.start,
                duration: fragment.duration,
            }),
        }
    }
    pieces
}

/// Whether a range of a file is one that [`pieces`] gives for some time: others would be anything in it, and may be most of it.
pub(super) fn is_piece(file: &FragmentedFile, at: u64, length: u64) -> bool {
    let Some(end) = at.checked_add(length) else { return false };
    let Some(first) = file.fragments.iter().position(|f| f.offset == at && f.key) else { return false };
    let begin = file.fragments[first].start;
    let mut until = begin;
    for fragment in &file.fragments[first..] {
        if fragment.key && until - begin >= SEGMENT {
            return false;
        }
        until = fragment.start + fragment.duration;
        if fragment.offset + fragment.length == end {
            return true;
        }
    }
    false
}

/// A part of a file.
pub(super) fn read(path: &Path, at: u64, length: u64) -> io::Result<Vec<u8>> {
    taken(&mut File::open(path)?, at, length)
}

fn taken(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact(&mut data)?;
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ghoststream::package::Fragment;

    #[test]
    fn segments_of_noted_files_are_named_by_their_times() {
        let file = Recorded {
            name: "x.mkv".into(),
            start: 0,
            duration: 5_500_000,
            grows: false,
            keys: vec![0, 2_000_000, 4_000_000],
        };
        let all = [
            ("0-2000000.m4s".to_string(), 0, 2_000_000),
            ("2000000-4000000.m4s".to_string(), 2_000_000, 2_000_000),
            ("4000000-7500000.m4s".to_string(), 4_000_000, 1_500_000),
        ];
        assert_eq!(timed(&file, i64::MIN, i64::MAX), all);
        assert_eq!(timed(&file, 2_500_000, 4_000_000), all[1..2]);
        assert_eq!(timed(&file, 2_000_000, 4_000_001), all[1..]);
        assert_eq!(timed(&file, 5_500_000, i64::MAX), []);
        for (name, _, _) in all {
            assert!(timed_of(&name).is_some_and(|times| times.is_some()), "{name}");
        }
        assert_eq!(timed_of("0-2000000.m4s"), Some(Some((0, 2_000_000))));
        assert_eq!(timed_of("init.mp4"), Some(None));
        for name in
            ["5-5.m4s", "-1-5.m4s", "1-.m4s", "1-2", "1-99999999999999999999.m4s", "x-2.m4s", "init.m4s"]
        {
            assert_eq!(timed_of(name), None, "{name}");
        }
    }

    #[test]
    fn segments_begin_at_key_frames() {
        let fragment = |n: u64, key| Fragment {
            offset: 100 + n * 10,
            length: 10,
            start: n as i64 * 1_000_000,
            duration: 1_000_000,
            key,
        };
        let fragments = (0..9).map(|n| fragment(n, n % 3 == 0)).collect();
        let file = FragmentedFile { init: Bytes::new(), fragments };
        let of =
            |from, to| pieces(&file, from, to).into_iter().map(|p| (p.offset, p.length)).collect::<Vec<_>>();
        assert_eq!(of(-5, i64::MAX), [(100, 30), (130, 30), (160, 30)]);
        assert_eq!(of(3_500_000, 4_000_000), [(130, 30)]);
        assert_eq!(of(2_999_999, 3_000_001), [(100, 30), (130, 30)]);
        assert_eq!(of(8_900_000, i64::MAX), [(160, 30)]);
        let given = |at: u64, length: u64| is_piece(&file, at, length);
        assert!(given(100, 30) && given(130, 30) && given(160, 30));
        assert!(given(160, 10), "a file that grew ended there when it was asked for");
        for (at, length) in [(100, 40), (100, 60), (110, 20), (101, 29), (100, 29), (160, 40), (u64::MAX, 2)]
        {
            assert!(!given(at, length), "{at}-{length}");
        }
    }
}
