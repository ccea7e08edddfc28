//! What is in a recording's directory, and when it was: the files say how long they are, and the notes beside them when they
//! began. Notes are lines of JSON that are only added, by who records.

use crate::live::push::{is_made, is_recorded};
use crate::locks::lock;
use ghoststream::package::FragmentedFile;
use ghoststream::probe::{ProbeOptions, probe};
use ghoststream::spec::{Container, SourceSpec};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// The files with the notes, by what is recorded in.
const NOTES: [(Container, &str); 3] = [
    (Container::Mp4, "recording.jsonl"),
    (Container::Mkv, "recording.mkv.jsonl"),
    (Container::Ts, "recording.ts.jsonl"),
];
/// Places where pictures can begin are noted this far from each other, in microseconds: a segment is as long.
const APART: i64 = super::SEGMENT;
/// Nearer to each other than this they are one; and so far the end of a file may be from the one where the next begins.
const ONE: i64 = 250_000;
/// Notes that are longer forget what is gone.
const LONG: u64 = 64 << 10;
/// The last write of a file may be this much (microseconds) from the end that the notes promise.
const NEAR: i64 = 15_000_000;
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
    /// Where the file that is written begins.
    begin: Option<i64>,
}

impl Keys {
    /// There is one `at` microseconds since the row began.
    pub fn note(&mut self, at: i64) {
        if self.all.back().is_none_or(|last| at - last >= ONE) {
            self.all.push_back(at);
        }
    }

    /// Where segments of the file begin that is complete now, `duration` long: from its beginning on. The next one begins behind it.
    fn of_file(&mut self, duration: i64) -> Vec<i64> {
        let begin = self.begin.or(self.all.front().copied()).unwrap_or(0);
        let end = begin.saturating_add(duration);
        // Files end at key frames, and their lengths are told less exactly.
        let nearest = (0..self.all.len()).min_by_key(|n| self.all.get(*n).map(|k| (k - end).abs()));
        let near = nearest.filter(|n| self.all.get(*n).is_some_and(|k| (k - end).abs() < ONE));
        let count = near.unwrap_or_else(|| self.all.partition_point(|k| *k < end));
        let mut starts = vec![0];
        for key in self.all.drain(..count) {
            if key - begin - starts.last().copied().unwrap_or(0) >= APART {
                starts.push(key - begin);
            }
        }
        self.begin = Some(match near {
            Some(_) => self.all.front().copied().unwrap_or(end),
            None => end,
        });
        starts
    }
}

/// Writes the notes of one recording.
#[derive(Debug)]
pub(in crate::live) struct Notes {
    path: PathBuf,
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
        let mut notes = Notes { torn, path, next: at, plain: container == Container::Mp4, trimmed: 0 };
        notes.trim(None);
        notes.add(&Note::Began { at });
        Some(notes)
    }

    /// The next file of the row is complete: `seconds` long, with these `keys`.
    pub fn saved(&mut self, path: &str, seconds: f64, keys: &mut Keys) {
        let Some(name) = Path::new(path).file_name().and_then(|n| n.to_str()) else { return };
        let duration = (seconds.max(0.0) * 1e6) as i64;
        let keys = if self.plain { Vec::new() } else { keys.of_file(duration) };
        self.add(&Note::File { name: name.into(), start: self.next, duration, keys });
        self.next = self.next.saturating_add(duration);
        // Who publishes for months begins only once.
        self.trim(Some(&Note::Began { at: self.next }));
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

/// Takes out of notes what is about files that are gone, and adds `then`.
fn forget(path: &Path, then: Option<&Note>) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new(""));
    let text = std::fs::read_to_string(path)?;
    let mut kept = String::new();
    for line in text.lines() {
        let stays = match serde_json::from_str(line) {
            Ok(Note::File { name, .. }) => directory.join(name).exists(),
            // Of what is before all files that are left nothing is known.
            Ok(Note::Began { .. }) => !kept.is_empty(),
            Err(_) => false,
        };
        if stays {
            kept.extend([line, "\n"]);
        }
    }
    if let Some(then) = then {
        kept.extend([&serde_json::to_string(then).unwrap_or_default(), "\n"]);
    }
    let new = path.with_extension("new");
    std::fs::write(&new, kept).and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| {
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
}

/// Remembers what is in files that do not change. All methods may be called from any thread, and read files.
#[derive(Debug, Default)]
pub(super) struct Insides {
    files: Mutex<HashMap<PathBuf, Inside>>,
    /// Of files that notes should tell of and do not.
    looked: Mutex<HashMap<PathBuf, Looked>>,
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
        let file = Arc::new(read().or_else(|_| read())?);
        let mut all = lock(&self.files);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(path.into(), Inside { length, modified, file: file.clone() });
        Ok(file)
    }

    /// What is in a file of MKV or MPEG-TS that a crash has left: it is read whole, once.
    fn look(&self, path: &Path) -> Option<Look> {
        let meta = std::fs::metadata(path).ok()?;
        let (length, modified) = (meta.len(), meta.modified().ok()?);
        let known = lock(&self.looked).get(path).cloned();
        if let Some(known) = known.filter(|k| (k.length, k.modified) == (length, modified)) {
            return known.found;
        }
        let found =
            read_whole(path).inspect_err(|e| tracing::warn!("{}: {e}", path.display())).ok().flatten();
        let mut all = lock(&self.looked);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(path.into(), Looked { length, modified, found: found.clone() });
        found
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
        found.sort_by_key(|r| r.start);
        Ok(found)
    }

    fn list_of(&self, directory: &Path, container: Container, notes: &str) -> io::Result<Vec<Recorded>> {
        let text = match std::fs::read_to_string(directory.join(notes)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e),
        };
        let mut noted = HashMap::new();
        let mut next = None;
        // Where files began that are not noted: a row that ended otherwise has one at its end.
        let mut begun = Vec::new();
        // A line that a crash cut short says nothing.
        for note in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match note {
                Note::Began { at } => begun.extend(next.replace(at)),
                Note::File { name, start, duration, keys } => {
                    next = Some(start.saturating_add(duration));
                    noted.insert(name, (start, duration, keys));
                }
            }
        }
        begun.extend(next);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)?
            .flatten()
            .map(|e| e.path())
            .filter(|p| is_recorded(p, container))
            .collect();
        paths.sort();
        // Else it was left by a crash.
        let made = is_made(directory, container);
        let named = |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).map(String::from);
        // What is noted is complete. Names do not tell: of two in one second the later one is sorted before the other, and clocks are
        // set back.
        let open = paths.iter().filter(|p| made && named(p).is_some_and(|name| !noted.contains_key(&name)));
        let newest = open.max_by_key(|p| std::fs::metadata(p).and_then(|m| m.modified()).ok()).cloned();
        let mut found: Vec<Recorded> = Vec::new();
        for path in paths {
            let Some(name) = named(&path) else { continue };
            if let Some((start, duration, keys)) = noted.remove(&name) {
                // So short a file of MPEG-TS does not say what is in it.
                if keys.is_empty() || duration >= ONE {
                    found.push(Recorded { name, start, duration, grows: false, keys });
                }
                continue;
            }
            // Being written, or left by a crash: its last write was at its end.
            let Ok(modified) = std::fs::metadata(&path).and_then(|m| m.modified()) else { continue };
            let end = micros(modified);
            let inside = match container {
                Container::Mp4 => self.of(&path).ok().map(|f| (f.duration(), Vec::new())),
                // It is not complete, or older than the notes.
                _ if newest.as_ref() == Some(&path) || begun.iter().all(|at| *at > end) => None,
                _ => self.look(&path),
            };
            let Some((duration, keys)) = inside.filter(|(duration, _)| *duration > 0) else { continue };
            let promised = promised(&begun, duration, end);
            let start = promised.unwrap_or(end.saturating_sub(duration));
            let grows = newest.as_ref() == Some(&path) && promised == next;
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
    Ok(Some((duration, keys.of_file(duration.saturating_add(2 * ONE)))))
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
        assert_eq!(keys.of_file(5_040_000), [0, 2_000_000, 4_000_000]);
        assert_eq!(
            keys.of_file(4_990_000),
            [0, 2_000_000, 4_000_000],
            "what is told too long or too short does not add up"
        );
        // The last one ends where no key frame is.
        assert_eq!(keys.of_file(2_900_000), [0, 2_000_000]);
        assert_eq!(keys.of_file(1_000_000), [0]);
        assert!(keys.all.is_empty());
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
            notes.saved(name, 10.0, &mut keys);
        }
        put("2026-01-01_00-00-30.mkv");
        notes.saved("2026-01-01_00-00-30.mkv", 0.08, &mut keys);
        // One that grows, which nothing says anything of; and MP4 of the same time as the second.
        put("2026-01-01_00-00-20.mkv");
        begin(dir.path(), 11_000_000).saved("2026-01-01_00-00-10.mp4", 8.0, &mut Keys::default());
        put("2026-01-01_00-00-10.mp4");
        let found = Insides::default().list(dir.path()).unwrap();
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
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        };
        put(first, 5);
        put(second, 0);
        let now = micros(SystemTime::now());
        let mut notes = Notes::begin(dir.path(), Container::Mkv, now - 10_000_000).unwrap();
        notes.saved(first, 5.0, &mut Keys::default());
        let insides = Insides::default();
        let names = || insides.list(dir.path()).unwrap().into_iter().map(|r| r.name).collect::<Vec<_>>();
        let held = crate::live::push::hold(dir.path(), Container::Mkv);
        assert_eq!(names(), [first]);
        assert!(lock(&insides.looked).is_empty(), "what grows is not read");
        // A crash has left an older one, whatever it is called.
        put("2026-01-01_00-00-09.mkv", 4);
        assert_eq!(names(), [first]);
        assert_eq!(
            lock(&insides.looked).keys().collect::<Vec<_>>(),
            [&dir.path().join("2026-01-01_00-00-09.mkv")]
        );
        drop(held);
        assert_eq!(names(), [first]);
        assert_eq!(lock(&insides.looked).len(), 2, "it is over");
    }

    #[test]
    fn notes_say_when_files_begin() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["2026-01-01_00-00-00.mp4", "2026-01-01_00-00-10.mp4", "2026-01-01_01-00-00.mp4"];
        let mut notes = begin(dir.path(), 1_000_000);
        for name in &names[..2] {
            std::fs::write(dir.path().join(name), "").unwrap();
            notes.saved(&format!("/somewhere/{name}"), 10.0, &mut Keys::default());
        }
        let mut notes = begin(dir.path(), 3_600_000_000);
        std::fs::write(dir.path().join(names[2]), "").unwrap();
        notes.saved(names[2], 2.5, &mut Keys::default());
        // A crash, and files that are none of it.
        File::options()
            .append(true)
            .open(dir.path().join(NOTES[0].1))
            .unwrap()
            .write_all(b"{\"file\":{\"na")
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
        notes.saved("2026-01-01_03-00-00.mp4", 1.0, &mut Keys::default());
        let last = list(dir.path()).pop().unwrap();
        assert_eq!((last.1, last.2), (7_200_000_000, 1_000_000));
        std::fs::remove_file(dir.path().join("2026-01-01_03-00-00.mp4")).unwrap();
        // Long ones forget what is gone, while a row goes on too; and it goes on where it was.
        let size = || std::fs::metadata(dir.path().join(NOTES[0].1)).unwrap().len();
        for n in 0..2000 {
            notes.saved(&format!("2026-01-02_00-00-00 ({n}).mp4"), 1.0, &mut Keys::default());
            assert!(size() < LONG + 200, "{n}");
        }
        assert_eq!(list(dir.path()), expected.map(|(n, s, d)| (n.to_string(), s, d)));
        std::fs::write(dir.path().join("2026-01-03_00-00-00.mp4"), "").unwrap();
        notes.saved("2026-01-03_00-00-00.mp4", 1.0, &mut Keys::default());
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
