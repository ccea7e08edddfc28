//! Recordings in MKV and MPEG-TS as players take them: a file that somebody plays is made fragmented MP4, whole and copied, and that is
//! kept for as long as it is among the last that were asked for.

use bytes::Bytes;
use ghoststream::package::FragmentedFile;
use ghoststream::probe::{ProbeOptions, Stream, probe};
use ghoststream::spec::{
    AudioChoice, AudioSpec, OutputSpec, PipelineSpec, SourceSpec, SubtitleChoice, VideoChoice, VideoSpec,
};
use ghoststream::{Error, ErrorKind, Pipeline, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// How many are kept, and how many bytes; the last one is kept in any case.
const KEPT: (usize, u64) = (8, 8 << 30);
/// How long one may take to be made.
const WORK: Duration = Duration::from_secs(600);
/// How many may wait for theirs: each has a thread meanwhile.
const QUEUE: usize = 32;
/// What the directories of them begin with. Those of servers that crashed are removed when they are a day old.
const PREFIX: &str = ".played-";
const LEFT: Duration = Duration::from_secs(86_400);
/// A segment begins at the fragment that is this near (microseconds): MKV counts milliseconds.
const NEAR: i64 = 20_000;

/// A file in its place; goes with the last who has it.
#[derive(Debug)]
pub(super) struct Twin {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub inside: Arc<FragmentedFile>,
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

/// One that is kept: of which file, as it was.
#[derive(Debug)]
struct Kept {
    of: PathBuf,
    length: u64,
    modified: SystemTime,
    twin: Arc<Twin>,
}

/// Those that there are. All methods may be called from any thread, and work with files.
#[derive(Debug)]
pub(super) struct Twins {
    root: PathBuf,
    /// The one that was asked for last is the last.
    kept: Mutex<Vec<Kept>>,
    /// One is made at a time: its number, and the directory once there is one.
    making: Mutex<(u64, Option<PathBuf>)>,
    /// How many wait for theirs.
    waiting: AtomicUsize,
}

impl Twins {
    /// In a directory of their own below `root`, which is made with the first of them.
    pub fn new(root: PathBuf) -> Twins {
        Twins { root, kept: Mutex::default(), making: Mutex::default(), waiting: AtomicUsize::new(0) }
    }

    /// The one of the file at `path`; waits until it is made.
    pub fn of(&self, path: &Path) -> Result<Arc<Twin>> {
        let meta = fs::metadata(path)?;
        let (length, modified) = (meta.len(), meta.modified()?);
        let known = |this: &Twins| {
            let mut kept = lock(&this.kept);
            let at =
                kept.iter().position(|k| k.of == path && (k.length, k.modified) == (length, modified))?;
            let found = kept.remove(at);
            let twin = found.twin.clone();
            kept.push(found);
            Some(twin)
        };
        if let Some(twin) = known(self) {
            return Ok(twin);
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::new(ErrorKind::Busy, "too many recordings are made ready to be played"));
        }
        let mut making = lock(&self.making);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // Who was waited for may have made the same.
        if let Some(twin) = known(self) {
            return Ok(twin);
        }
        let directory = match &making.1 {
            Some(directory) => directory.clone(),
            None => self.directory()?,
        };
        making.1 = Some(directory.clone());
        making.0 += 1;
        let place = directory.join(format!("{}.mp4", making.0));
        let made = copy(path, &place).and_then(|()| FragmentedFile::read(&mut File::open(&place)?));
        let mut inside = made.inspect_err(|_| {
            // There may be nothing.
            let _none = fs::remove_file(&place);
        })?;
        inside.init = without_rates(&inside.init);
        let twin = Arc::new(Twin { path: place, inside: Arc::new(inside) });
        let mut kept = lock(&self.kept);
        kept.retain(|k| k.of != path);
        kept.push(Kept { of: path.into(), length, modified, twin: twin.clone() });
        let mut old = Vec::new();
        while kept.len() > KEPT.0 || (kept.len() > 1 && kept.iter().map(|k| k.length).sum::<u64>() > KEPT.1) {
            old.push(kept.remove(0));
        }
        drop(kept);
        // Removing large files takes its time.
        drop(old);
        Ok(twin)
    }

    /// Makes the directory, and removes those that crashes left.
    fn directory(&self) -> Result<PathBuf> {
        for entry in fs::read_dir(&self.root)?.flatten() {
            let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
            let modified = entry.metadata().and_then(|m| m.modified()).ok();
            if named && modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFT) {
                remove(&entry.path());
            }
        }
        let directory = self.root.canonicalize()?.join(format!("{PREFIX}{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&directory).map_err(|e| Error::from(e).context(directory.display()))?;
        Ok(directory)
    }
}

impl Drop for Twins {
    fn drop(&mut self) {
        lock(&self.kept).clear();
        if let Some(directory) = lock(&self.making).1.take() {
            remove(&directory);
        }
    }
}

fn remove(directory: &Path) {
    if let Err(e) = fs::remove_dir_all(directory) {
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

/// Makes a fragmented MP4 at `to` of all pictures and sound at `from`, as they are.
fn copy(from: &Path, to: &Path) -> Result<()> {
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
    let mut document = PipelineSpec::new(source, vec![output]);
    document.name = Some("recording".into());
    let job = Pipeline::from_spec(document)?.start().job()?;
    match job.wait(Some(WORK))? {
        Some(done) => done.into_result().map(|_| ()),
        None => {
            job.cancel();
            Err(Error::new(ErrorKind::Internal, "it took too long"))
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
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
