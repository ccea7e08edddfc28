//! Recordings in MKV and MPEG-TS as players take them: a file that somebody plays is made fragmented MP4, whole and copied, and that is
//! kept for as long as it is among the last that were asked for.

use super::catalogue::Recorded;
use crate::locks::lock;
use bytes::Bytes;
use ghoststream::package::FragmentedFile;
use ghoststream::probe::{ProbeOptions, Stream, probe};
use ghoststream::spec::{
    AudioChoice, AudioSpec, OutputSpec, PipelineSpec, SourceSpec, SubtitleChoice, VideoChoice, VideoSpec,
};
use ghoststream::{Error, ErrorKind, Pipeline, Result};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant, SystemTime};

/// How many are kept, and how many bytes; the last one is kept in any case.
const KEPT: (usize, u64) = (8, 8 << 30);
/// How many there are at most, and how many bytes, with those that somebody still fetches; one may be larger.
const MOST: (usize, u64) = (16, 16 << 30);
/// How long one may take to be made.
const WORK: Duration = Duration::from_secs(600);
/// How often it is looked meanwhile whether the server ends, and how long one that is cancelled may take.
const LOOK: Duration = Duration::from_millis(100);
const CANCEL: Duration = Duration::from_secs(5);
/// Files of which none can be made that are remembered.
const REMEMBERED: usize = 256;
/// How many may wait for theirs: each has a thread meanwhile.
const QUEUE: usize = 32;
/// What the directories of them begin with.
const PREFIX: &str = ".played-";
/// The file in it that its server has locked for as long as it lives: what crashed servers left has none who does.
const LOCK: &str = "lock";
/// So long after it was changed a directory is not looked at: its lock may not be taken yet.
const NEW: Duration = Duration::from_secs(60);
/// One without a lock is removed when it is a day old.
const LEFT: Duration = Duration::from_secs(86_400);
/// A segment begins at the fragment that is this near (microseconds): MKV counts milliseconds.
const NEAR: i64 = 20_000;
/// Where segments are not longer than this (microseconds) fragments begin at key frames alone, `DENSE` (as the muxer is told)
/// from each other: where all pictures are key frames there would be one for each.
const SHORT: i64 = 30_000_000;
const DENSE: &str = "200000";

/// A file in its place; goes with the last who has it.
#[derive(Debug)]
pub(super) struct Twin {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub inside: Arc<FragmentedFile>,
    /// Which file it is made of, as that was.
    of: PathBuf,
    length: u64,
    modified: SystemTime,
}

impl Twin {
    /// Where in it the fragments from `from` to `to` (microseconds) are: offset and length.
    pub fn find(&self, from: i64, to: i64) -> Option<(u64, u64)> {
        range(&self.inside, from, to)
    }
}

fn range(inside: &FragmentedFile, from: i64, to: i64) -> Option<(u64, u64)> {
    let within = |start: i64| start >= from.saturating_sub(NEAR) && start < to.saturating_sub(NEAR);
    let mut its = inside.fragments.iter().filter(|f| within(f.start));
    let first = its.next()?;
    let last = its.next_back().unwrap_or(first);
    Some((first.offset, last.offset + last.length - first.offset))
}

impl Drop for Twin {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(&self.path) {
            tracing::debug!("{}: {e}", self.path.display());
        }
    }
}

/// Those that there are.
#[derive(Debug, Default)]
struct All {
    /// All, whoever has them.
    made: Vec<Weak<Twin>>,
    /// The one that was asked for last is the last.
    kept: Vec<Arc<Twin>>,
    /// Files of which none can be made, as they were, and why.
    failed: HashMap<PathBuf, (u64, SystemTime, Error)>,
}

impl All {
    /// Why none can be made of a file that is as it was.
    fn refused(&self, of: &Path, length: u64, modified: SystemTime) -> Result<()> {
        let failed = self.failed.get(of).filter(|(l, m, _)| (*l, *m) == (length, modified));
        failed.map_or(Ok(()), |(.., why)| Err(why.clone()))
    }

    /// Remembers that none can be made of a file, where that is for what is in it.
    fn fail(&mut self, of: &Path, length: u64, modified: SystemTime, why: &Error) {
        use ErrorKind::{Format, Internal, Invalid, Unsupported};
        if matches!(why.kind(), Format | Internal | Invalid | Unsupported) {
            if self.failed.len() >= REMEMBERED {
                self.failed.clear();
            }
            self.failed.insert(of.into(), (length, modified, why.clone()));
        }
    }

    /// The one of a file that is as it was, and what is not kept any more for it: removing large files takes its time.
    fn find(&mut self, of: &Path, length: u64, modified: SystemTime) -> Option<(Arc<Twin>, Vec<Arc<Twin>>)> {
        let same = |t: &Arc<Twin>| t.of == of && (t.length, t.modified) == (length, modified);
        let mut there = self.made.iter().filter_map(Weak::upgrade);
        let twin = there.find(|t| same(t) && t.path.exists())?;
        let old = self.keep(&twin);
        Some((twin, old))
    }

    fn keep(&mut self, twin: &Arc<Twin>) -> Vec<Arc<Twin>> {
        // Of the same file one is enough.
        let mut old: Vec<_> = self.kept.extract_if(.., |k| k.of == twin.of).collect();
        old.extend(self.room(twin.length));
        self.kept.push(twin.clone());
        old
    }

    /// Takes out of those that are kept what has no place beside one more of `length` bytes.
    fn room(&mut self, length: u64) -> Vec<Arc<Twin>> {
        let mut old = Vec::new();
        while self.kept.len() >= KEPT.0
            || self.kept.iter().map(|k| k.length).fold(length, u64::saturating_add) > KEPT.1
        {
            let Some(oldest) = self.oldest() else { break };
            old.push(oldest);
        }
        old
    }

    /// Takes out the one that nobody has asked for for the longest time.
    fn oldest(&mut self) -> Option<Arc<Twin>> {
        (!self.kept.is_empty()).then(|| self.kept.remove(0))
    }

    /// Whether one more of `length` bytes would be too much: those that are not kept stay for as long as somebody fetches them.
    fn full(&mut self, length: u64) -> bool {
        self.made.retain(|m| m.strong_count() > 0);
        let bytes = self.made.iter().filter_map(Weak::upgrade).map(|t| t.length);
        let bytes = bytes.fold(length, u64::saturating_add);
        !self.made.is_empty() && (self.made.len() >= MOST.0 || bytes > MOST.1)
    }
}

/// The directory that they are in.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Says that it is somebody's.
    lock: File,
    /// The number of the last one.
    count: u64,
}

impl Place {
    /// Makes it below `root`, and removes those that crashes left.
    fn make(root: &Path) -> Result<Place> {
        clean(root);
        let path = root.canonicalize()?.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        let made = fs::create_dir(&path).and_then(|()| File::create_new(path.join(LOCK)));
        let lock = made.map_err(|e| Error::from(e).context(path.display()))?;
        // Where nothing can be locked nobody takes it for left either.
        if let Err(e) = lock.try_lock() {
            tracing::warn!("{}: {e}", path.display());
        }
        Ok(Place { path, lock, count: 0 })
    }
}

/// Removes directories below `root` that crashed servers left.
pub(super) fn clean(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if named && entry.metadata().is_ok_and(|m| m.is_dir() && is_left(&entry.path(), &m)) {
            remove(&entry.path());
        }
    }
}

/// Whether no server has a directory any more.
fn is_left(directory: &Path, meta: &fs::Metadata) -> bool {
    let Some(age) = meta.modified().ok().and_then(|at| at.elapsed().ok()) else { return false };
    match File::options().write(true).open(directory.join(LOCK)) {
        Ok(file) => age > NEW && file.try_lock().is_ok(),
        Err(e) => e.kind() == io::ErrorKind::NotFound && age > LEFT,
    }
}

/// Those that there are. All methods may be called from any thread, and work with files.
#[derive(Debug)]
pub(super) struct Twins {
    root: PathBuf,
    all: Mutex<All>,
    /// One is made at a time; nothing before the first.
    making: Mutex<Option<Place>>,
    /// How many wait for theirs.
    waiting: AtomicUsize,
    /// The server ends: none is made any more.
    closed: AtomicBool,
}

impl Twins {
    /// In a directory of their own below `root`, which is made with the first of them.
    pub fn new(root: PathBuf) -> Twins {
        Twins {
            root,
            all: Mutex::default(),
            making: Mutex::default(),
            waiting: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The one of the file at `path`, which is `file`; waits until it is made.
    pub fn of(&self, path: &Path, file: &Recorded) -> Result<Arc<Twin>> {
        let meta = fs::metadata(path)?;
        let (length, modified) = (meta.len(), meta.modified()?);
        let known = || {
            let mut all = lock(&self.all);
            all.refused(path, length, modified)?;
            let found = all.find(path, length, modified);
            drop(all);
            Ok::<_, Error>(found.map(|(twin, _old)| twin))
        };
        if let Some(twin) = known()? {
            return Ok(twin);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::new(ErrorKind::Busy, "too many recordings are made ready to be played"));
        }
        let mut making = lock(&self.making);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // Who was waited for may have made the same.
        if let Some(twin) = known()? {
            return Ok(twin);
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::cancelled());
        }
        let old = lock(&self.all).room(length);
        drop(old);
        if lock(&self.all).full(length) {
            return Err(Error::new(ErrorKind::Busy, "too many recordings are being fetched"));
        }
        // Somebody may have cleaned up.
        let place = match making.take().filter(|place| place.path.is_dir()) {
            Some(place) => place,
            None => Place::make(&self.root)?,
        };
        let place = making.insert(place);
        while ghoststream::disk::space(&place.path).is_ok_and(|s| s.free < length.saturating_mul(2)) {
            let oldest = lock(&self.all).oldest();
            if oldest.is_none() {
                return Err(Error::new(ErrorKind::Busy, "the disk is too full to play recordings"));
            }
        }
        place.count += 1;
        let to = place.path.join(format!("{}.mp4", place.count));
        let copied = copy(path, &to, longest(file) <= SHORT, &self.closed);
        let made = copied.and_then(|()| FragmentedFile::read(&mut File::open(&to)?));
        let mut inside = made.inspect_err(|e| {
            // There may be nothing.
            let _none = fs::remove_file(&to);
            lock(&self.all).fail(path, length, modified, e);
        })?;
        inside.init = without_rates(&inside.init);
        let twin = Twin { path: to, inside: Arc::new(inside), of: path.into(), length, modified };
        let twin = Arc::new(twin);
        let mut all = lock(&self.all);
        all.made.push(Arc::downgrade(&twin));
        let old = all.keep(&twin);
        drop(all);
        drop(old);
        Ok(twin)
    }

    /// Keeps none whose file is gone, or is another one now.
    pub fn sweep(&self) {
        let now = |of: &Path| fs::metadata(of).and_then(|m| Ok((m.len(), m.modified()?)));
        let gone = |t: &mut Arc<Twin>| now(&t.of).ok() != Some((t.length, t.modified));
        let mut all = lock(&self.all);
        let old: Vec<_> = all.kept.extract_if(.., gone).collect();
        all.failed.retain(|of, (length, modified, _)| now(of).is_ok_and(|now| now == (*length, *modified)));
        drop(all);
        drop(old);
    }

    /// Ends the one that is made, and makes no more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        lock(&self.all).kept.clear();
        if let Some(Place { path, lock, .. }) = lock(&self.making).take() {
            drop(lock);
            remove(&path);
        }
    }
}

fn remove(directory: &Path) {
    // Another server may be faster.
    if let Err(e) = fs::remove_dir_all(directory)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{}: {e}", directory.display());
    }
}

/// `init` without bit rates: of MPEG-TS they are guesses, another one for each file, and make tracks of one recording look unlike each
/// other.
fn without_rates(init: &[u8]) -> Bytes {
    let mut init = init.to_vec();
    for at in 4..init.len().saturating_sub(4) {
        let rates = match &init[at..at + 4] {
            // A box of 20 bytes: the size of the decoder's buffer, and two rates.
            b"btrt" if init[at - 4..at] == [0, 0, 0, 20] => at + 4..at + 16,
            // Tag, length, and what leads to the decoder's tag, behind which stand the same three.
            b"esds" if init.get(at + 8) == Some(&3) && init.get(at + 16) == Some(&4) => at + 23..at + 34,
            _ => continue,
        };
        if let Some(rates) = init.get_mut(rates) {
            rates.fill(0);
        }
    }
    init.into()
}

/// How long the longest segment of a file is, in microseconds.
fn longest(file: &Recorded) -> i64 {
    let ends = file.keys.iter().skip(1).copied().chain([file.duration]);
    file.keys.iter().zip(ends).map(|(begin, end)| end.saturating_sub(*begin)).max().unwrap_or(i64::MAX)
}

/// Makes a fragmented MP4 at `to` of all pictures and sound at `from`, as they are, until it is to `end`. Where the file has `short`
/// segments, fragments are those of key frames.
fn copy(from: &Path, to: &Path, short: bool, end: &AtomicBool) -> Result<()> {
    let text = |path: &Path| {
        let text = path.to_str().map(String::from);
        text.ok_or_else(|| Error::new(ErrorKind::Invalid, format!("{}: this is no text", path.display())))
    };
    let source = SourceSpec::url(text(&from.canonicalize()?)?);
    let found = probe(&source, &ProbeOptions::default())?;
    // A file that was ended right after its begin may have announced sound of which nothing came.
    let known = |s: &&Stream| {
        s.video.as_ref().is_none_or(|v| v.width > 0) && s.audio.as_ref().is_none_or(|a| a.sample_rate > 0)
    };
    let has = |kind| found.streams.iter().filter(known).any(|s| s.kind == kind);
    let mut output = OutputSpec::path(text(to)?);
    (output.fragmented, output.crash_safe) = (true, Some(true));
    output.video = match has("video") {
        true => VideoChoice::Track(Box::new(VideoSpec::copy())),
        false => VideoChoice::None,
    };
    output.audio = match has("audio") {
        true => AudioChoice::Tracks(vec![AudioSpec::copy()]),
        false => AudioChoice::None,
    };
    output.subtitles = SubtitleChoice::None;
    if short && has("video") {
        // In the place of one a second, which would begin a little before a key frame that has none of its own then.
        let options = [("frag_duration", "0"), ("min_frag_duration", DENSE)];
        output.options.extend(options.map(|(name, value)| (name.to_string(), value.to_string())));
    }
    let mut document = PipelineSpec::new(source, vec![output]);
    document.name = Some("recording".into());
    let job = Pipeline::from_spec(document)?.start().job()?;
    let late = Instant::now() + WORK;
    loop {
        let ends = end.load(Ordering::SeqCst);
        if ends || Instant::now() >= late {
            job.cancel();
            // What it has written is removed when it is over.
            let _over = job.wait(Some(CANCEL))?;
            return Err(match ends {
                true => Error::cancelled(),
                // Another time the machine may have more of it.
                false => Error::new(ErrorKind::Busy, "it took too long"),
            });
        }
        if let Some(done) = job.wait(Some(LOOK))? {
            return done.into_result().map(|_| ());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::package::Fragment;

    #[test]
    fn rates_are_taken_out_and_nothing_else() {
        let btrt =
            |rate: u8| [&[0, 0, 0, 20][..], b"btrt", &[0, 0, 0, 1, 0, 0, rate, 0, 0, 0, rate, 0]].concat();
        // As FFmpeg writes it: lengths in four bytes.
        let esds = |rate: u8| {
            let head = [
                &[0, 0, 0, 51][..],
                b"esds",
                &[0, 0, 0, 0, 3, 0x80, 0x80, 0x80, 34, 0, 2, 0, 4, 0x80, 0x80, 0x80, 20],
            ];
            [
                &head.concat()[..],
                &[0x40, 0x15, 0, 0, rate, 0, 0, rate, 7, 0, 0, rate, 9, 5, 0x80, 0x80, 0x80, 2, 0x11, 0x90],
            ]
            .concat()
        };
        let init = |rate: u8| [&b"ftyp"[..], &btrt(rate), b"between", &esds(rate), b"esds", b"btrt"].concat();
        let bare = without_rates(&init(3));
        assert_ne!(init(3), init(4));
        assert_eq!(bare, without_rates(&init(4)));
        assert_eq!(bare.len(), init(3).len());
        // What the sound is stays.
        assert!(
            bare.windows(4).any(|w| w == [2, 0x11, 0x90, b'e']) && bare.windows(2).any(|w| w == [0x40, 0x15])
        );
        assert!(bare.ends_with(b"esdsbtrt"));
    }

    /// What a file is in a list.
    fn recorded() -> Recorded {
        Recorded { name: "x".into(), start: 0, duration: 1_000_000, grows: false, keys: vec![0] }
    }

    #[test]
    fn what_fails_is_not_made_again_before_it_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let twins = Twins::new(dir.path().into());
        let film = dir.path().join("x.mkv");
        let fails = || {
            let why = twins.of(&film, &recorded()).unwrap_err();
            (why.message().to_string(), lock(&twins.making).as_ref().unwrap().count)
        };
        fs::write(&film, "x").unwrap();
        let first = fails();
        assert_eq!((fails(), first.1), (first.clone(), 1));
        fs::write(&film, "longer").unwrap();
        assert_eq!(fails().1, 2);
        fs::remove_file(&film).unwrap();
        twins.sweep();
        assert!(lock(&twins.all).failed.is_empty());
        // What is for another reason than the file is tried again.
        let mut all = All::default();
        let (film, then) = (Path::new("x"), SystemTime::UNIX_EPOCH);
        for (kind, kept) in [(ErrorKind::Busy, false), (ErrorKind::Io, false), (ErrorKind::Format, true)] {
            all.fail(film, 1, then, &Error::new(kind, "no"));
            assert_eq!(all.refused(film, 1, then).is_err(), kept, "{kind:?}");
        }
        assert!(all.refused(film, 2, then).is_ok());
    }

    #[test]
    fn many_key_frames_are_few_fragments() {
        let dir = tempfile::tempdir().unwrap();
        let [film, short, long] = ["film.mkv", "short.mp4", "long.mp4"].map(|name| dir.path().join(name));
        let document = serde_json::json!({
            "source": {"pattern": {"width": 320, "height": 180, "frame_rate": 25, "frames": 100}},
            "outputs": [{"path": film, "video": {"encoder": "libx264", "preset": "p1", "gop": 1}}]});
        let document = PipelineSpec::from_json(&document.to_string()).unwrap();
        let job = Pipeline::from_spec(document).unwrap().start().job().unwrap();
        job.wait(None).unwrap().unwrap().into_result().unwrap();
        let goes_on = AtomicBool::new(false);
        copy(&film, &short, true, &goes_on).unwrap();
        copy(&film, &long, false, &goes_on).unwrap();
        let [short, long] = [short, long].map(|p| FragmentedFile::read(&mut File::open(p).unwrap()).unwrap());
        assert_eq!((short.fragments.len(), long.fragments.len()), (20, 100));
        assert!(short.fragments.iter().all(|f| f.key) && (short.duration() - 4_000_000).abs() < 50_000);
        // The server ends.
        let twins = Twins::new(dir.path().into());
        twins.close();
        let ended = twins.of(&film, &recorded()).unwrap_err();
        let during = copy(&film, &dir.path().join("during.mp4"), true, &twins.closed).unwrap_err();
        assert_eq!((ended.kind(), during.kind()), (ErrorKind::Cancelled, ErrorKind::Cancelled));
        assert!(lock(&twins.making).is_none());
        // A picture that is shown for long is not kept in memory with all that is before the next.
        let file = |keys: &[i64]| Recorded { keys: keys.into(), duration: 60_000_000, ..recorded() };
        assert_eq!(longest(&file(&[0, 20_000_000, 45_000_000])), 25_000_000);
        assert!(longest(&file(&[0])) > SHORT);
    }

    /// One of the file `of`, which is not asked what is in it.
    fn made(twins: &Twins, of: &Path) -> Arc<Twin> {
        let meta = fs::metadata(of).unwrap();
        let path = of.with_extension("copy");
        fs::write(&path, "").unwrap();
        let inside = Arc::new(FragmentedFile { init: Bytes::new(), fragments: Vec::new() });
        let (length, modified) = (meta.len(), meta.modified().unwrap());
        let twin = Arc::new(Twin { path, inside, of: of.into(), length, modified });
        let mut all = lock(&twins.all);
        all.made.push(Arc::downgrade(&twin));
        all.keep(&twin);
        twin
    }

    #[test]
    fn those_that_are_fetched_are_counted_and_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let twins = Twins::new(dir.path().into());
        let file = |n: usize| {
            let path = dir.path().join(format!("{n}.mkv"));
            fs::write(&path, "x").unwrap();
            path
        };
        let files: Vec<PathBuf> = (0..=MOST.0).map(file).collect();
        let mut fetched: Vec<_> = files[..MOST.0].iter().map(|of| made(&twins, of)).collect();
        assert_eq!(lock(&twins.all).kept.len(), KEPT.0);
        // One that is not kept any more is there all the same, and is kept again.
        assert!(Arc::ptr_eq(&twins.of(&files[0], &recorded()).unwrap(), &fetched[0]));
        assert!(lock(&twins.all).kept.last().is_some_and(|last| Arc::ptr_eq(last, &fetched[0])));
        let refused = || twins.of(&files[MOST.0], &recorded()).map_err(|e| e.kind()).err();
        assert_eq!(refused(), Some(ErrorKind::Busy));
        // There is room: what is in the file is looked at.
        fetched.truncate(4);
        assert!(refused().is_some_and(|kind| kind != ErrorKind::Busy));
        let mut all = lock(&twins.all);
        assert!(all.full(MOST.1) && !all.full(MOST.1 / 2));
        // However large, one goes.
        (all.kept, fetched) = (Vec::new(), Vec::new());
        assert!(fetched.is_empty() && !all.full(u64::MAX));
        assert!(!dir.path().join("0.copy").exists());
    }

    #[test]
    fn none_is_kept_of_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let twins = Twins::new(dir.path().into());
        let files = ["gone.mkv", "new.mkv", "same.mkv", "cleaned.mkv"].map(|name| dir.path().join(name));
        for file in &files {
            fs::write(file, "x").unwrap();
            made(&twins, file);
        }
        fs::remove_file(&files[0]).unwrap();
        fs::write(&files[1], "longer").unwrap();
        twins.sweep();
        let kept: Vec<_> = lock(&twins.all).kept.iter().map(|t| t.of.clone()).collect();
        assert_eq!(kept, files[2..]);
        assert!(!files[0].with_extension("copy").exists() && files[2].with_extension("copy").exists());
        // Somebody removed the copy.
        assert!(twins.of(&files[2], &recorded()).is_ok());
        fs::remove_file(files[3].with_extension("copy")).unwrap();
        assert!(twins.of(&files[3], &recorded()).is_err(), "it is made again, of what is no film");
    }

    #[test]
    fn directories_are_left_to_servers_that_live() {
        let dir = tempfile::tempdir().unwrap();
        let age = |path: &Path, age: Duration| {
            File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        };
        let lives = Place::make(dir.path()).unwrap();
        let crashed = Place::make(dir.path()).unwrap().path;
        let begins = Place::make(dir.path()).unwrap().path;
        let (bare, young) = (dir.path().join(".played-bare"), dir.path().join(".played-young"));
        let mine = dir.path().join("played");
        for path in [&bare, &young, &mine] {
            fs::create_dir(path).unwrap();
            age(path, 2 * if path == &young { NEW } else { LEFT });
        }
        for path in [&lives.path, &crashed] {
            age(path, 2 * LEFT);
        }
        clean(dir.path());
        assert!([&lives.path, &begins, &young, &mine].iter().all(|path| path.is_dir()));
        assert!(!crashed.exists() && !bare.exists());
        // One's own is made again.
        let twins = Twins::new(dir.path().into());
        let film = dir.path().join("x.mkv");
        let mut text = String::new();
        let mut place = || {
            // Of what is as it was nothing is made again.
            text.push('x');
            fs::write(&film, &text).unwrap();
            assert!(twins.of(&film, &recorded()).is_err());
            lock(&twins.making).as_ref().unwrap().path.clone()
        };
        let first = place();
        assert_eq!(place(), first);
        fs::remove_dir_all(&first).unwrap();
        let second = place();
        assert!(second != first && second.is_dir());
        drop(twins);
        assert!(!second.exists());
    }

    #[test]
    fn segments_leave_nothing_out_and_have_nothing_twice() {
        // Key frames of MKV are where milliseconds are, and one that was noted may have been dropped.
        let starts = [0, 999_000, 2_033_000, 3_001_000, 4_067_000];
        let fragments = starts.into_iter().enumerate().map(|(n, start)| Fragment {
            offset: 100 + 10 * n as u64,
            length: 10,
            start,
            duration: 1_000_000,
            key: true,
        });
        let file = FragmentedFile { init: Bytes::new(), fragments: fragments.collect() };
        assert_eq!(range(&file, 0, 2_033_333), Some((100, 20)));
        assert_eq!(range(&file, 2_033_333, 3_500_000), Some((120, 20)));
        assert_eq!(range(&file, 3_500_000, 4_066_667), None);
        assert_eq!(range(&file, 4_066_667, i64::MAX), Some((140, 10)));
    }
}
