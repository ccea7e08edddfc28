//! What is in a recording's directory, and when it was: the files say how long they are, and the notes beside them when they
//! began. Notes are lines of JSON that are only added, by who records.

use crate::live::push::{is_made, is_recorded};
use crate::locks::lock;
use ghoststream::event::Span;
use ghoststream::package::FragmentedFile;
use ghoststream::probe::{ProbeOptions, probe};
use ghoststream::spec::{Container, SourceSpec};
use ghoststream::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The files with the notes, by what is recorded in.
const NOTES: [(Container, &str); 3] = [
    (Container::Mp4, "recording.jsonl"),
    (Container::Mkv, "recording.mkv.jsonl"),
    (Container::Ts, "recording.ts.jsonl"),
];
/// Places where pictures can begin are noted this far from each other, in microseconds: a segment is as long.
const APART: i64 = super::segments::SEGMENT;
/// Nearer to each other than this they are one.
const ONE: i64 = 250_000;
/// One that is this near to where a file was cut is there: muxers move times that do not rise.
const CUT: i64 = 20_000;
/// The last picture of a file, which may not say how long it is shown, is shown until the next file begins, but not longer than this.
const HELD: i64 = 2_000_000;
/// Notes that are longer forget what is gone.
const LONG: u64 = 64 << 10;
/// The last write of a file may be this much (microseconds) from the end that the notes promise.
const NEAR: i64 = 15_000_000;
/// While a recording is made, files that are not noted are written to for so long after a write: one that was cut waits for late sound.
const FRESH: Duration = Duration::from_secs(10);
/// Files whose insides are remembered.
const REMEMBERED: usize = 256;

/// A line of the notes. Times are microseconds, since 1970 where they are points.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Note {
    /// A row of files begins, each where the one before it ends.
    Began { at: i64 },
    /// A file of it is complete.
    File {
        name: String,
        start: i64,
        duration: i64,
        /// Of MKV and MPEG-TS: where in it segments begin.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<i64>,
    },
}

/// Where the notes about files of a container are; none of others.
pub(super) fn notes_of(container: Container) -> Option<&'static str> {
    NOTES.iter().find(|(of, _)| *of == container).map(|(_, name)| *name)
}

/// Whether a file is notes.
pub(in crate::live) fn is_notes(name: &OsStr) -> bool {
    NOTES.iter().any(|(_, notes)| name == *notes)
}

/// Where pictures can begin in the files of a row that is written: those of MKV and MPEG-TS do not say it themselves.
#[derive(Debug, Default)]
pub(in crate::live) struct Keys {
    /// Microseconds since the row began, of files that are not complete.
    all: VecDeque<i64>,
}

impl Keys {
    /// There is one `at` microseconds since the row began.
    pub fn note(&mut self, at: i64) {
        if self.all.back().is_none_or(|last| at - last >= ONE) {
            self.all.push_back(at);
        }
    }

    /// Where segments begin of the file that is complete now, from `begin` to `end` (microseconds since the row began): from its
    /// beginning on.
    fn of_file(&mut self, begin: i64, end: i64) -> Vec<i64> {
        // The first picture of a row is shown a little after time 0.
        let begin = if begin > 0 { begin } else { self.all.front().copied().unwrap_or(0) };
        let count = self.all.partition_point(|key| key.saturating_add(CUT) < end);
        let mut starts = vec![0];
        for key in self.all.drain(..count) {
            if key - begin - starts.last().copied().unwrap_or(0) >= APART {
                starts.push(key - begin);
            }
        }
        starts
    }
}

/// Writes the notes of one recording.
#[derive(Debug)]
pub(in crate::live) struct Notes {
    path: PathBuf,
    /// When the row began.
    at: i64,
    /// When its next file begins.
    next: i64,
    /// Whether files say themselves where segments begin.
    plain: bool,
    /// Whether the last line may be a part of one.
    torn: bool,
    /// How long they were when they last forgot what is gone.
    trimmed: u64,
}

impl Notes {
    /// A row of files begins `at` (microseconds since 1970). What cannot be noted is a warning: files of MP4 have times of their own.
    /// `None` for what is not played.
    pub fn begin(directory: &Path, container: Container, at: i64) -> Option<Notes> {
        let path = directory.join(notes_of(container)?);
        // A crash, or a full disk, may have cut the last line short.
        let torn = path.exists();
        let mut notes = Notes { torn, path, at, next: at, plain: container == Container::Mp4, trimmed: 0 };
        notes.trim(None);
        notes.add(&Note::Began { at });
        Some(notes)
    }

    /// The next file of the row is complete: `seconds` of media at `span` of its clock, with these `keys`.
    pub fn saved(&mut self, path: &str, seconds: f64, span: &Span, keys: &mut Keys) {
        let Some(name) = Path::new(path).file_name().and_then(|n| n.to_str()) else { return };
        let begin = span.begin.micros();
        let there = (seconds.max(0.0) * 1e6) as i64;
        let until = span.until.map_or(begin.saturating_add(there), Timestamp::micros);
        let whole = until.saturating_sub(begin).max(0);
        // Where more is missing nothing came.
        let duration = if whole.saturating_sub(there) <= HELD { whole } else { there };
        let keys = if self.plain { Vec::new() } else { keys.of_file(begin, until) };
        let start = self.at.saturating_add(begin);
        self.add(&Note::File { name: name.into(), start, duration, keys });
        self.next = self.at.saturating_add(until);
        let next = Note::Began { at: self.next };
        if duration != whole {
            self.add(&next);
        }
        // Who publishes for months begins only once.
        self.trim(Some(&next));
    }

    /// A file of `seconds` is complete that follows those which are.
    #[cfg(test)]
    pub fn follows(&mut self, path: &str, seconds: f64, keys: &mut Keys) {
        let begin = (self.next - self.at) as f64 / 1e6;
        let [begin, until] = [begin, begin + seconds].map(Timestamp::from_seconds);
        self.saved(path, seconds, &Span { begin, until: Some(until) }, keys);
    }

    /// Takes what is about files that are gone out of notes that are long, and have become twice as long since. A row that goes on
    /// does so with `then`: perhaps none of its files is left.
    fn trim(&mut self, then: Option<&Note>) {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
        if length(&self.path) < LONG.max(self.trimmed.saturating_mul(2)) {
            return;
        }
        match forget(&self.path, then) {
            Ok(()) => self.torn = false,
            Err(e) => tracing::warn!("{}: {e}", self.path.display()),
        }
        self.trimmed = length(&self.path);
    }

    fn add(&mut self, note: &Note) {
        let mut line = serde_json::to_string(note).unwrap_or_default() + "\n";
        if self.torn {
            line.insert(0, '\n');
        }
        let file = File::options().append(true).create(true).open(&self.path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        self.torn = written.is_err();
        if let Err(e) = written {
            tracing::warn!("{}: {e}", self.path.display());
        }
    }
}

/// The notes in `data`, and the lines that they are. A line that a crash cut short, or a disk has spoilt, says nothing.
fn lines(data: &[u8]) -> impl Iterator<Item = (&[u8], Note)> {
    data.split(|byte| *byte == b'\n').filter_map(|line| Some((line, serde_json::from_slice(line).ok()?)))
}

/// What notes say.
#[derive(Debug, Default)]
struct Noted {
    /// Begin, length and where segments begin of files, by their names.
    files: HashMap<String, (i64, i64, Vec<i64>)>,
    /// Where files began that are not noted: a row that ended otherwise has one at its end.
    begun: Vec<i64>,
}

impl Noted {
    fn read(data: &[u8]) -> Noted {
        let mut noted = Noted::default();
        let mut next = None;
        for (_, note) in lines(data) {
            match note {
                Note::Began { at } => noted.begun.extend(next.replace(at)),
                Note::File { name, start, duration, keys } => {
                    next = Some(start.saturating_add(duration));
                    noted.files.insert(name, (start, duration, keys));
                }
            }
        }
        noted.begun.extend(next);
        noted
    }

    /// A file that is complete.
    fn file(&self, name: &str) -> Option<Recorded> {
        let (start, duration, keys) = self.files.get(name)?.clone();
        Some(Recorded { name: name.into(), start, duration, grows: false, keys })
    }
}

/// Takes out of notes what is about files that are gone, and adds `then`.
fn forget(path: &Path, then: Option<&Note>) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let data = std::fs::read(path)?;
    let noted = Noted::read(&data);
    let container = NOTES.iter().find(|(_, notes)| path.file_name() == Some(OsStr::new(notes))).map(|n| n.0);
    // Where files began that are not noted, as `promised` looks for it; those of the same row came before.
    let mut began: BTreeSet<i64> = BTreeSet::new();
    for entry in std::fs::read_dir(directory)?.flatten() {
        let name = entry.file_name();
        let known = name.to_str().is_none_or(|name| noted.files.contains_key(name));
        if known || !container.is_some_and(|of| is_recorded(&entry.path(), of)) {
            continue;
        }
        let Ok(end) = entry.metadata().and_then(|m| m.modified()).map(micros) else { continue };
        began.extend(noted.begun.iter().filter(|at| at.saturating_sub(end).saturating_abs() < NEAR));
        began.extend(noted.begun.iter().filter(|at| **at <= end).max());
    }
    // The last one twice: a file that is noted behind it would be taken for what began there.
    let began: Vec<i64> = began.iter().chain(began.last()).copied().collect();
    let began = began.into_iter().map(|at| serde_json::to_vec(&Note::Began { at }).unwrap_or_default());
    let stays = |note: &Note| matches!(note, Note::File { name, .. } if directory.join(name).exists());
    let kept = lines(&data).filter(|(_, note)| stays(note)).map(|(line, _)| line.to_vec());
    let then = then.map(|then| serde_json::to_vec(then).unwrap_or_default());
    let mut left = Vec::new();
    for line in began.chain(kept).chain(then) {
        left.extend(line);
        left.push(b'\n');
    }
    let new = path.with_extension("new");
    std::fs::write(&new, left).and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| {
        // What is left of it is nothing to anybody.
        let _gone = std::fs::remove_file(&new);
    })
}

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// Its name.
    pub name: String,
    /// When it begins: microseconds since 1970.
    pub start: i64,
    /// Its length in microseconds, so far.
    pub duration: i64,
    /// Whether it is written to.
    pub grows: bool,
    /// Of MKV and MPEG-TS: where in it segments begin. MP4 says that itself.
    pub keys: Vec<i64>,
}

impl Recorded {
    /// When it ends.
    pub fn end(&self) -> i64 {
        self.start.saturating_add(self.duration)
    }

    /// Whether it is made fragmented MP4 to be played.
    pub fn needs_twin(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether there is something in it: so short a file of MPEG-TS does not say what.
    fn is_played(&self) -> bool {
        !self.needs_twin() || self.duration >= ONE
    }
}

/// Remembers what is in files that do not change. All methods may be called from any thread, and read files.
#[derive(Debug, Default)]
pub(super) struct Insides {
    files: Mutex<HashMap<PathBuf, Inside>>,
    /// Of files that notes should tell of and do not.
    looked: Mutex<HashMap<PathBuf, Looked>>,
    /// Those of them that somebody reads now.
    looking: Mutex<HashMap<PathBuf, Arc<Mutex<()>>>>,
    /// Notes as they were when they were read.
    notes: Mutex<HashMap<PathBuf, Known>>,
}

/// The length of a file, and where in it segments begin.
type Look = (i64, Vec<i64>);

#[derive(Clone, Debug)]
struct Looked {
    length: u64,
    modified: SystemTime,
    /// Nothing where it cannot be read.
    found: Option<Look>,
}

#[derive(Clone, Debug)]
struct Known {
    length: u64,
    modified: SystemTime,
    noted: Arc<Noted>,
}

#[derive(Clone, Debug)]
struct Inside {
    length: u64,
    modified: SystemTime,
    file: Arc<FragmentedFile>,
}

impl Insides {
    /// What is in a file.
    pub fn of(&self, path: &Path) -> ghoststream::Result<Arc<FragmentedFile>> {
        let meta = std::fs::metadata(path)?;
        let (length, modified) = (meta.len(), meta.modified()?);
        let known = lock(&self.files).get(path).cloned();
        if let Some(known) = known.filter(|k| (k.length, k.modified) == (length, modified)) {
            return Ok(known.file);
        }
        // It may be completed while it is read: then it is another one a moment later.
        let read = || FragmentedFile::read(&mut File::open(path)?);
        let file = Arc::new(read().or_else(|_| read()).map_err(|e| e.context(path.display()))?);
        let mut all = lock(&self.files);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(path.into(), Inside { length, modified, file: file.clone() });
        Ok(file)
    }

    /// What was in a file when it was last looked into.
    pub fn known(&self, path: &Path) -> Option<Arc<FragmentedFile>> {
        lock(&self.files).get(path).map(|k| k.file.clone())
    }

    /// What is in a file of MKV or MPEG-TS that a crash has left: it is read whole, once.
    fn look(&self, path: &Path) -> Option<Look> {
        self.look_by(path, || {
            read_whole(path).inspect_err(|e| tracing::warn!("{}: {e}", path.display())).ok().flatten()
        })
    }

    /// What `read` finds in a file, which others who ask wait for.
    fn look_by(&self, path: &Path, read: impl FnOnce() -> Option<Look>) -> Option<Look> {
        let meta = std::fs::metadata(path).ok()?;
        let (length, modified) = (meta.len(), meta.modified().ok()?);
        let known = || {
            let known = lock(&self.looked).get(path).cloned();
            known.filter(|k| (k.length, k.modified) == (length, modified)).map(|k| k.found)
        };
        if let Some(found) = known() {
            return found;
        }
        let one = lock(&self.looking).entry(path.into()).or_default().clone();
        let _turn = lock(&one);
        if let Some(found) = known() {
            return found;
        }
        let found = read();
        let mut all = lock(&self.looked);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(path.into(), Looked { length, modified, found: found.clone() });
        drop(all);
        lock(&self.looking).remove(path);
        found
    }

    /// What the notes at `path` say; nothing where there are none.
    fn noted(&self, path: &Path) -> io::Result<Arc<Noted>> {
        let meta = match std::fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Arc::default()),
            Err(e) => return Err(e),
        };
        let (length, modified) = (meta.len(), meta.modified()?);
        let known = lock(&self.notes).get(path).cloned();
        if let Some(known) = known.filter(|k| (k.length, k.modified) == (length, modified)) {
            return Ok(known.noted);
        }
        let noted = Arc::new(Noted::read(&std::fs::read(path)?));
        let mut all = lock(&self.notes);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(path.into(), Known { length, modified, noted: noted.clone() });
        Ok(noted)
    }

    /// One of the files that are made fragmented MP4 to be played.
    pub fn one(&self, directory: &Path, container: Container, name: &str) -> io::Result<Option<Recorded>> {
        let Some(notes) = notes_of(container) else { return Ok(None) };
        // All are looked at only for one that a crash has left.
        let found = match self.noted(&directory.join(notes))?.file(name) {
            Some(file) => Some(file).filter(Recorded::is_played),
            None => self.list_of(directory, container, notes)?.into_iter().find(|f| f.name == name),
        };
        Ok(found.filter(Recorded::needs_twin))
    }

    /// The files of a recording that can be played by time, the oldest first. Where it was recorded in several forms at once, those of MP4.
    pub fn list(&self, directory: &Path) -> io::Result<Vec<Recorded>> {
        let mut found: Vec<Recorded> = Vec::new();
        for (container, notes) in NOTES {
            let more = self.list_of(directory, container, notes)?;
            let both = |new: &Recorded| {
                found
                    .iter()
                    .any(|old| new.start < old.end() - super::JOINED && old.start < new.end() - super::JOINED)
            };
            let more: Vec<Recorded> = more.into_iter().filter(|new| !both(new)).collect();
            found.extend(more);
        }
        found.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
        Ok(found)
    }

    fn list_of(&self, directory: &Path, container: Container, notes: &str) -> io::Result<Vec<Recorded>> {
        // Else what is not noted was left by a crash.
        let made = is_made(directory, container);
        let noted = self.noted(&directory.join(notes))?;
        let mut begun = noted.begun.clone();
        let mut found: Vec<Recorded> = Vec::new();
        let mut others = Vec::new();
        for path in std::fs::read_dir(directory)?.flatten().map(|e| e.path()) {
            let name = path.file_name().and_then(|n| n.to_str()).map(String::from);
            let Some(name) = name.filter(|_| is_recorded(&path, container)) else { continue };
            match noted.file(&name) {
                Some(file) => found.extend(Some(file).filter(Recorded::is_played)),
                None => {
                    let Ok(modified) = std::fs::metadata(&path).and_then(|m| m.modified()) else { continue };
                    others.push((modified, name, path));
                }
            }
        }
        // Being written, or left by a crash: its last write was at its end. Names do not tell: of two in one second the later one is
        // sorted before the other, and clocks are set back.
        others.sort();
        let newest = others.last().map(|(_, name, _)| name.clone());
        for (modified, name, path) in others {
            let old = modified.elapsed().is_ok_and(|age| age > FRESH);
            let grows = made && (!old || newest.as_ref() == Some(&name));
            let end = micros(modified);
            let inside = match container {
                Container::Mp4 => self.of(&path).ok().map(|f| (f.duration(), Vec::new())),
                // It is not complete, or older than the notes.
                _ if grows || begun.iter().all(|at| *at > end) => None,
                _ => self.look(&path),
            };
            let Some((duration, keys)) = inside.filter(|(duration, _)| *duration > 0) else { continue };
            let promised = promised(&begun, duration, end);
            // One that waits for late sound has another behind it.
            begun.extend(promised.map(|at| at.saturating_add(duration)));
            let start = promised.unwrap_or(end.saturating_sub(duration));
            found.push(Recorded { name, start, duration, grows, keys });
        }
        Ok(found)
    }
}

/// Length and key frames of a file, by all of its packets.
fn read_whole(path: &Path) -> ghoststream::Result<Option<Look>> {
    let path = path.canonicalize()?;
    let Some(text) = path.to_str() else { return Ok(None) };
    let found = probe(&SourceSpec::url(text), &ProbeOptions { keyframes: true })?;
    let micros = |seconds: f64| (seconds * 1e6) as i64;
    let Some(duration) = found.duration.map(micros) else { return Ok(None) };
    let mut keys = Keys::default();
    match found.streams.iter().find_map(|s| s.keyframes.as_ref()) {
        Some(times) => times.iter().for_each(|key| keys.note(micros(key.time))),
        // Sound begins anywhere.
        None => (0..duration).step_by(APART as usize).for_each(|at| keys.note(at)),
    }
    Ok(Some((duration, keys.of_file(0, i64::MAX))))
}

/// Where a file began that is not noted, of what was `begun`: its last write, at `end`, was near its own.
fn promised(begun: &[i64], duration: i64, end: i64) -> Option<i64> {
    let off = |at: &&i64| (at.saturating_add(duration) - end).abs();
    begun.iter().min_by_key(off).filter(|at| off(at) < NEAR).copied()
}

/// Microseconds since 1970.
pub(super) fn micros(at: SystemTime) -> i64 {
    i64::try_from(at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros())).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::time::MICROSECONDS;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_file_that_was_cut_short_begins_where_its_row_was() {
        let begun = [100_000_000, 110_000_000, 200_000_000];
        // Its last second was never written.
        assert_eq!(promised(&begun, 4_000_000, 115_000_000), Some(110_000_000));
        assert_eq!(promised(&begun, 8_000_000, 208_500_000), Some(200_000_000));
        assert_eq!(promised(&begun, 5_000_000, 150_000_000), None, "it is none of them");
        assert_eq!(promised(&[], 5_000_000, 150_000_000), None);
    }

    fn begin(directory: &Path, at: i64) -> Notes {
        Notes::begin(directory, Container::Mp4, at).unwrap()
    }

    #[test]
    fn segments_of_other_files_begin_where_pictures_can() {
        let mut keys = Keys::default();
        // The first picture is shown a little after time 0; key frames each second, and files of some 5 s.
        (0..13).for_each(|n| keys.note(80_000 + 1_000_000 * n));
        // Pictures that are all key frames are not all noted.
        keys.note(12_100_000);
        assert_eq!(keys.all.len(), 13);
        assert_eq!(keys.of_file(0, 5_080_000), [0, 2_000_000, 4_000_000]);
        // The one at the cut was moved a little: it is the next file's all the same.
        assert_eq!(keys.of_file(5_080_000, 10_081_000), [0, 2_000_000, 4_000_000]);
        assert_eq!(keys.all.front(), Some(&10_080_000));
        // The last one ends where no key frame is.
        assert_eq!(keys.of_file(10_080_000, 12_980_000), [0, 2_000_000]);
        assert!(keys.all.is_empty());
        // A camera that stood still across the end of a file.
        [0, 2_000_000, 9_000_000, 11_000_000].into_iter().for_each(|key| keys.note(key));
        assert_eq!(keys.of_file(0, 9_000_000), [0, 2_000_000]);
        assert_eq!(keys.of_file(9_000_000, 13_000_000), [0, 2_000_000]);
    }

    #[test]
    fn dates_are_those_of_the_rows_clock() {
        let dir = tempfile::tempdir().unwrap();
        let at = |micros: i64| Timestamp::new(micros, MICROSECONDS);
        let mut notes = begin(dir.path(), 1_000_000);
        let mut saved = |n: usize, seconds: f64, begin: i64, until: Option<i64>| {
            let name = format!("2026-01-01_00-00-0{n}.mp4");
            std::fs::write(dir.path().join(&name), "").unwrap();
            let span = Span { begin: at(begin), until: until.map(at) };
            notes.saved(&name, seconds, &span, &mut Keys::default());
        };
        // Pictures that do not say how long they are: each file is told one of them short.
        saved(0, 9.96, 0, Some(10_000_000));
        saved(1, 9.96, 10_000_000, Some(20_000_000));
        // Then nothing comes for 3 s.
        saved(2, 9.96, 20_000_000, Some(33_000_000));
        let begun = || Noted::read(&std::fs::read(dir.path().join(NOTES[0].1)).unwrap()).begun;
        assert_eq!(begun().last(), Some(&34_000_000), "where the one that is written begins");
        saved(3, 5.0, 33_000_000, None);
        let found = Insides::default().list(dir.path()).unwrap();
        let found: Vec<_> = found.into_iter().map(|r| (r.start, r.duration)).collect();
        let expected = [
            (1_000_000, 10_000_000),
            (11_000_000, 10_000_000),
            (21_000_000, 9_960_000),
            (34_000_000, 5_000_000),
        ];
        assert_eq!(found, expected);
        assert_eq!(begun().last(), Some(&39_000_000));
    }

    #[test]
    fn a_crashed_row_keeps_its_begin() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NOTES[0].1);
        let (left, kept) = (dir.path().join("2026-01-01_00-00-00.mp4"), "2026-01-01_01-00-00.mp4");
        File::create(&left).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(120)).unwrap();
        std::fs::write(dir.path().join(kept), "").unwrap();
        // The row was recorded until 120 s, its last file from 95 s on; what was noted of it is gone.
        let text = format!(
            "{{\"began\":{{\"at\":1000000}}}}\n{{\"file\":{{\"name\":\"gone.mp4\",\"start\":1000000,\"duration\":94000000}}}}\n\
             {{\"began\":{{\"at\":500000000}}}}\n\
             {{\"file\":{{\"name\":\"{kept}\",\"start\":500000000,\"duration\":1000000}}}}\n"
        );
        std::fs::write(&path, text).unwrap();
        let begun = || {
            forget(&path, None).unwrap();
            let noted = Noted::read(&std::fs::read(&path).unwrap());
            assert_eq!(noted.files.keys().collect::<Vec<_>>(), [kept]);
            noted.begun
        };
        assert_eq!(begun(), [95_000_000, 501_000_000]);
        assert_eq!(begun(), [95_000_000, 501_000_000], "and does not grow");
        std::fs::remove_file(left).unwrap();
        assert_eq!(begun(), [501_000_000]);
    }

    #[test]
    fn a_file_is_read_by_one_and_others_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.mkv");
        std::fs::write(&path, "x").unwrap();
        let (insides, count) = (Insides::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let found = insides.look_by(&path, || {
                        count.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(100));
                        Some((1, vec![0]))
                    });
                    assert_eq!(found, Some((1, vec![0])));
                });
            }
        });
        assert_eq!(count.into_inner(), 1);
        assert!(lock(&insides.looking).is_empty());
    }

    #[test]
    fn other_files_are_played_by_their_notes() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| std::fs::write(dir.path().join(name), "x").unwrap();
        let mut keys = Keys::default();
        let mut notes = Notes::begin(dir.path(), Container::Mkv, 1_000_000).unwrap();
        for n in 0..20 {
            keys.note(1_000_000 * n);
        }
        for name in ["2026-01-01_00-00-00.mkv", "2026-01-01_00-00-10.mkv"] {
            put(name);
            notes.follows(name, 10.0, &mut keys);
        }
        put("2026-01-01_00-00-30.mkv");
        notes.follows("2026-01-01_00-00-30.mkv", 0.08, &mut keys);
        // One that grows, which nothing says anything of; and MP4 of the same time as the second.
        put("2026-01-01_00-00-20.mkv");
        begin(dir.path(), 11_000_000).follows("2026-01-01_00-00-10.mp4", 8.0, &mut Keys::default());
        put("2026-01-01_00-00-10.mp4");
        let insides = Insides::default();
        let one = |name: &str| insides.one(dir.path(), Container::Mkv, name).unwrap().map(|r| r.start);
        assert_eq!(one("2026-01-01_00-00-10.mkv"), Some(11_000_000));
        for none in ["2026-01-01_00-00-20.mkv", "2026-01-01_00-00-30.mkv", "2026-01-01_00-00-10.mp4", "x"] {
            assert_eq!(one(none), None, "{none}");
        }
        let found = insides.list(dir.path()).unwrap();
        let found: Vec<_> = found.into_iter().map(|r| (r.name, r.start, r.keys)).collect();
        let every = |seconds: i64| (0..5).map(|n| n * seconds * 1_000_000).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                ("2026-01-01_00-00-00.mkv".to_string(), 1_000_000, every(2)),
                ("2026-01-01_00-00-10.mp4".to_string(), 11_000_000, Vec::new()),
            ]
        );
        assert!(Notes::begin(dir.path(), Container::WebM, 0).is_none());
        assert!(is_notes(OsStr::new("recording.ts.jsonl")) && !is_notes(OsStr::new("mine.jsonl")));
    }

    #[test]
    fn the_file_that_grows_is_not_told_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        // The second file of one second is sorted before the first.
        let (first, second) = ("2026-01-01_00-00-00.mkv", "2026-01-01_00-00-00-2.mkv");
        let put = |name: &str, age: u64| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        put(first, 5);
        put(second, 0);
        let now = micros(SystemTime::now());
        let mut notes = Notes::begin(dir.path(), Container::Mkv, now - 100_000_000).unwrap();
        notes.follows(first, 5.0, &mut Keys::default());
        let insides = Insides::default();
        let names = || insides.list(dir.path()).unwrap().into_iter().map(|r| r.name).collect::<Vec<_>>();
        let held = crate::live::push::hold(dir.path(), Container::Mkv);
        assert_eq!(names(), [first]);
        // One that was cut, and waits for late sound.
        put("2026-01-01_00-00-05.mkv", 3);
        assert_eq!(names(), [first]);
        assert!(lock(&insides.looked).is_empty(), "what grows is not read");
        // A crash has left an older one, whatever it is called.
        put("2026-01-01_00-00-09.mkv", 40);
        assert_eq!(names(), [first]);
        assert_eq!(
            lock(&insides.looked).keys().collect::<Vec<_>>(),
            [&dir.path().join("2026-01-01_00-00-09.mkv")]
        );
        drop(held);
        assert_eq!(names(), [first]);
        assert_eq!(lock(&insides.looked).len(), 3, "it is over");
    }

    #[test]
    fn notes_say_when_files_begin() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["2026-01-01_00-00-00.mp4", "2026-01-01_00-00-10.mp4", "2026-01-01_01-00-00.mp4"];
        let mut notes = begin(dir.path(), 1_000_000);
        for name in &names[..2] {
            std::fs::write(dir.path().join(name), "").unwrap();
            notes.follows(&format!("/somewhere/{name}"), 10.0, &mut Keys::default());
        }
        let mut notes = begin(dir.path(), 3_600_000_000);
        std::fs::write(dir.path().join(names[2]), "").unwrap();
        notes.follows(names[2], 2.5, &mut Keys::default());
        // A crash, what a bad disk made of a line, and files that are none of it.
        File::options()
            .append(true)
            .open(dir.path().join(NOTES[0].1))
            .unwrap()
            .write_all(b"spoilt: \xff\xfe\n{\"file\":{\"na")
            .unwrap();
        std::fs::write(dir.path().join("mine.mp4"), "").unwrap();
        std::fs::write(dir.path().join("2026-01-01_02-00-00.mp4"), "not a film").unwrap();
        let insides = Insides::default();
        let list = |dir: &Path| {
            insides.list(dir).unwrap().into_iter().map(|r| (r.name, r.start, r.duration)).collect::<Vec<_>>()
        };
        let expected = [
            (names[0], 1_000_000, 10_000_000),
            (names[1], 11_000_000, 10_000_000),
            (names[2], 3_600_000_000, 2_500_000),
        ];
        assert_eq!(list(dir.path()), expected.map(|(n, s, d)| (n.to_string(), s, d)));
        // What is noted behind a line that was cut short is not lost with it.
        let mut notes = begin(dir.path(), 7_200_000_000);
        std::fs::write(dir.path().join("2026-01-01_03-00-00.mp4"), "").unwrap();
        notes.follows("2026-01-01_03-00-00.mp4", 1.0, &mut Keys::default());
        let last = list(dir.path()).pop().unwrap();
        assert_eq!((last.1, last.2), (7_200_000_000, 1_000_000));
        std::fs::remove_file(dir.path().join("2026-01-01_03-00-00.mp4")).unwrap();
        // Long ones forget what is gone, while a row goes on too; and it goes on where it was.
        let size = || std::fs::metadata(dir.path().join(NOTES[0].1)).unwrap().len();
        for n in 0..2000 {
            notes.follows(&format!("2026-01-02_00-00-00 ({n}).mp4"), 1.0, &mut Keys::default());
            assert!(size() < LONG + 200, "{n}");
        }
        assert_eq!(list(dir.path()), expected.map(|(n, s, d)| (n.to_string(), s, d)));
        std::fs::write(dir.path().join("2026-01-03_00-00-00.mp4"), "").unwrap();
        notes.follows("2026-01-03_00-00-00.mp4", 1.0, &mut Keys::default());
        assert_eq!(list(dir.path()).pop().unwrap().1, 7_200_000_000 + 2001 * 1_000_000);
        std::fs::remove_file(dir.path().join("2026-01-03_00-00-00.mp4")).unwrap();
        let old = "{\"file\":{\"name\":\"gone.mp4\",\"start\":1,\"duration\":1}}\n".repeat(2000);
        let mut file = File::options().append(true).open(dir.path().join(NOTES[0].1)).unwrap();
        file.write_all(old.as_bytes()).unwrap();
        begin(dir.path(), 9_000_000_000);
        assert!(size() < 1000 && list(dir.path()) == expected.map(|(n, s, d)| (n.to_string(), s, d)));
        // Retention removed one.
        std::fs::remove_file(dir.path().join(names[0])).unwrap();
        assert_eq!(list(dir.path()).len(), 2);
        assert!(insides.list(&dir.path().join("none")).is_err());
    }
}
