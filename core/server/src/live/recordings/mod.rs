//! Recordings played by time: `GET /recordings`, `/recordings/{name}` with what is there, and
//! `/recordings/{name}/playlist.m3u8?start=…&duration=…`, a playlist of what was recorded then; with `download.mp4` in its place
//! the same is one file. It is played from the files that recordings are made of (`catalogue`): of MP4 also from the one that is being
//! written, and nothing is made for it, segments are ranges of fragments; of MKV and MPEG-TS from files that are complete, which become
//! fragmented MP4 when somebody asks for media in them (`twins`).

mod catalogue;
mod download;
mod segments;
mod twins;

pub(super) use catalogue::{Keys, Notes, is_notes};

use super::origin::answer::{self, Cache, HLS};
use super::push::Recording;
use crate::config::RecordConfig;
use crate::locks::lock;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use catalogue::{Insides, Recorded};
use chrono::{DateTime, SecondsFormat};
use download::Download;
use ghoststream::ErrorKind;
use ghoststream::package::FragmentedFile;
use ghoststream::package::hls::{Map, MediaPlaylist, MediaSegment};
use ghoststream::spec::Container;
use ghoststream::time::{MICROSECONDS, Timestamp};
use schemars::JsonSchema;
use segments::{MOST, Piece, is_piece, pieces, read, timed, timed_of};
use serde::Serialize;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use twins::Twins;

/// Files that follow within this (microseconds) are one range.
const JOINED: i64 = 500_000;
/// What is recorded in, and can be played. Their files are called as they are.
const PLAYED: [Container; 3] = [Container::Mp4, Container::Mkv, Container::Ts];

/// The recordings below a directory. Cheap to clone; all methods may be called from any thread.
#[derive(Clone, Debug)]
pub struct Recordings {
    root: Arc<Path>,
    insides: Arc<Insides>,
    twins: Arc<Twins>,
}

/// Where and how streams are recorded.
#[derive(Clone, Debug)]
pub struct RecordingRules {
    root: PathBuf,
    config: RecordConfig,
    /// Of those who play what was recorded.
    twins: Arc<Mutex<Weak<Twins>>>,
}

impl RecordingRules {
    /// Below `root`, as `config` says.
    pub fn new(root: PathBuf, config: RecordConfig) -> RecordingRules {
        RecordingRules { root, config, twins: Arc::default() }
    }

    /// The directory of all recordings.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A recording into `directory`.
    pub fn recording(&self, directory: PathBuf, container: Container) -> Recording {
        let RecordConfig { segment_seconds, keep_seconds, max_bytes, .. } = self.config;
        Recording {
            directory,
            container,
            segment: segment_seconds,
            keep: (keep_seconds > 0.0).then(|| Duration::from_secs_f64(keep_seconds)),
            most: (max_bytes > 0).then_some(max_bytes),
        }
    }

    /// What is recorded, to be played. All that are given share what they make for it.
    pub fn played(&self) -> Recordings {
        let mut known = lock(&self.twins);
        let twins = known.upgrade().unwrap_or_else(|| Arc::new(Twins::new(self.root.clone())));
        *known = Arc::downgrade(&twins);
        Recordings { root: self.root.as_path().into(), insides: Arc::default(), twins }
    }

    /// Ends what is made for who plays recordings: the server ends.
    pub(super) fn close(&self) {
        let twins = lock(&self.twins).upgrade();
        if let Some(twins) = twins {
            twins.close();
        }
    }

    /// Removes what is too old, or too much, of recordings that nobody makes any more, and what was made to play recordings that are
    /// gone. It reads directories.
    pub fn sweep(&self) {
        self.sweep_recordings();
        let twins = lock(&self.twins).upgrade();
        if let Some(twins) = twins {
            twins.sweep();
        }
        twins::clean(&self.root);
    }

    fn sweep_recordings(&self) {
        if self.config.keep_seconds > 0.0 || self.config.max_bytes > 0 {
            super::push::sweep_below(&self.root, |directory, container| self.recording(directory, container));
        }
    }

    /// The recording of stream `name`, where everything that is published is recorded.
    pub fn of(&self, name: &str) -> Option<Recording> {
        let container = match self.config.all.as_deref()? {
            "mkv" => Container::Mkv,
            "ts" => Container::Ts,
            _ => Container::Mp4,
        };
        Some(self.recording(self.root.join(name), container))
    }
}

/// What is recorded.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveRecordings")]
pub struct RecordingNames {
    /// Names of recordings that can be played.
    pub recordings: Vec<String>,
}

/// A recording.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveRecording")]
pub struct RecordingView {
    /// Its name.
    pub name: String,
    /// Whether it goes on.
    pub recording: bool,
    /// What there is, the oldest first. Between them there is nothing.
    pub ranges: Vec<RecordedRange>,
}

/// A time that was recorded without a gap.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "LiveRecordedRange")]
pub struct RecordedRange {
    /// Its begin (RFC 3339).
    pub start: String,
    /// Its end, so far.
    pub end: String,
    /// Its length in seconds.
    pub duration: f64,
    /// In how many files it is.
    pub files: usize,
    /// A playlist of all of it.
    pub url: String,
    /// All of it as one file; null where it is in more files of MKV or MPEG-TS than one download may have.
    pub download: Option<String>,
}

/// An answer that is not one: status and reason.
type Refused = (u16, String);

/// What an answer has in it.
enum Found {
    Names(RecordingNames),
    View(RecordingView),
    Playlist(String),
    Media { name: String, bytes: Bytes },
    Download(Download),
}

fn missing(what: &str) -> Refused {
    (404, what.into())
}

/// What is said of a recording that is not there.
const NO_RECORDING: &str = "Recording not found";

/// What is said of a file that retention has removed.
const GONE: &str = "This part of the recording is gone";

/// Whether there is nothing of a name.
fn is_nothing(e: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(e.kind(), Kind::NotFound | Kind::NotADirectory | Kind::InvalidFilename)
}

/// Why it is not known what there is of the recording `name`. It tells of the server's paths: that is for its log.
fn unreadable(name: &str, e: &io::Error) -> Refused {
    if is_nothing(e) {
        return missing(NO_RECORDING);
    }
    tracing::warn!("the recording {name} cannot be read: {e}");
    (500, "The recording cannot be read; the server's log says why".into())
}

/// Why a part of `file` cannot be given, as [`unreadable`].
fn unread(file: &str, e: &io::Error) -> Refused {
    if is_nothing(e) { missing(GONE) } else { unreadable(file, e) }
}

/// The recording that a path behind `/recordings` is about, as [`Recordings::find`] reads it; empty for the list of all. `None`
/// for what is no path.
pub(super) fn stream_of(path: &str) -> Option<String> {
    let path = decoded(path.trim_matches('/'))?;
    let of = |name: &str| path.strip_suffix(name).map(String::from);
    if let Some(name) = of("/playlist.m3u8").or_else(|| of("/download.mp4")) {
        return Some(name);
    }
    if let Some((file, _)) = path.rsplit_once('/').filter(|(file, _)| form(file).is_some()) {
        return Some(file.rsplit_once('/').map_or("", |(name, _)| name).into());
    }
    Some(path)
}

/// What a file of a recording is in by its name, of what is played. A stream may be called `cam.ts`.
fn form(name: &str) -> Option<Container> {
    PLAYED.into_iter().find(|container| super::push::is_recorded(Path::new(name), *container))
}

impl Recordings {
    /// Those below `root`.
    pub fn new(root: PathBuf) -> Recordings {
        let twins = Arc::new(Twins::new(root.clone()));
        Recordings { root: root.into(), insides: Arc::default(), twins }
    }

    /// All routes.
    pub fn router(&self) -> Router {
        let one = get(answered).options(async || answer::preflight());
        Router::new()
            .route("/recordings", one.clone())
            .route("/recordings/{*path}", one)
            .with_state(self.clone())
    }

    fn find(&self, path: &str, query: &str) -> Result<Found, Refused> {
        let path = decoded(path.trim_matches('/')).ok_or_else(|| missing("Not Found"))?;
        if path.is_empty() {
            return Ok(Found::Names(RecordingNames { recordings: self.names() }));
        }
        let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
        if !path.split('/').all(plain) {
            return Err(missing("Not Found"));
        }
        if let Some(name) = path.strip_suffix("/playlist.m3u8") {
            let range = Range::read(query).map_err(|why| (400, why))?;
            return self.playlist(name, &range).map(Found::Playlist);
        }
        if let Some(name) = path.strip_suffix("/download.mp4") {
            let range = Range::read(query).map_err(|why| (400, why))?;
            return self.download(name, &range).map(Found::Download);
        }
        if let Some((folder, piece)) = path.rsplit_once('/')
            && let Some(container) = form(folder)
        {
            return self.piece(folder, container, piece);
        }
        self.describe(&path).map(Found::View)
    }

    /// The directories that have recordings in them which can be played.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut open: Vec<PathBuf> = vec![self.root.to_path_buf()];
        while let Some(directory) = open.pop() {
            let mut found = PLAYED.map(|container| (container, false, container == Container::Mp4));
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                // What a link leads to is not looked into.
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    open.push(entry.path());
                } else {
                    for (container, file, noted) in &mut found {
                        *file |= super::push::is_recorded(&entry.path(), *container);
                        *noted |= catalogue::notes_of(*container).is_some_and(|n| entry.file_name() == n);
                    }
                }
            }
            let name = directory.strip_prefix(&self.root).ok().and_then(|p| p.to_str());
            let any = found.iter().any(|(_, file, noted)| *file && *noted);
            names.extend(name.filter(|n| any && !n.is_empty()).map(String::from));
        }
        names.sort();
        names
    }

    fn list(&self, name: &str) -> Result<Vec<Recorded>, Refused> {
        let found = self.insides.list(&self.root.join(name)).map_err(|e| unreadable(name, &e))?;
        Some(found).filter(|f| !f.is_empty()).ok_or_else(|| missing(NO_RECORDING))
    }

    fn describe(&self, name: &str) -> Result<RecordingView, Refused> {
        // Of others than MP4 a file is not seen before it is complete.
        let made = |form: &Container| super::push::is_made(&self.root.join(name), *form);
        let made = PLAYED.iter().filter(|form| **form != Container::Mp4).any(made);
        let files = match self.list(name) {
            Err((404, _)) if made => Vec::new(),
            found => found?,
        };
        let mut ranges: Vec<(i64, i64, usize, usize)> = Vec::new();
        for file in &files {
            let twins = usize::from(file.needs_twin());
            match ranges.last_mut() {
                Some((_, end, count, all)) if file.start <= *end + JOINED => {
                    *end = file.end().max(*end);
                    *count += 1;
                    *all += twins;
                }
                _ => ranges.push((file.start, file.end(), 1, twins)),
            }
        }
        let of = |file: &str, start: i64, seconds: f64| {
            format!("/recordings/{}/{file}?start={}&duration={seconds:.3}", encoded(name), date(start))
        };
        let range = |(start, end, files, twins): (i64, i64, usize, usize)| {
            let duration = (end - start) as f64 / 1e6;
            RecordedRange {
                start: date(start),
                end: date(end),
                duration,
                files,
                url: of("playlist.m3u8", start, duration),
                download: (twins <= download::TWINS).then(|| of("download.mp4", start, duration)),
            }
        };
        let recording = made || files.iter().any(|f| f.grows);
        Ok(RecordingView { name: name.into(), recording, ranges: ranges.into_iter().map(range).collect() })
    }

    fn playlist(&self, name: &str, range: &Range) -> Result<String, Refused> {
        let files = self.list(name)?;
        let start = range.start.unwrap_or_else(|| files.first().map_or(0, |f| f.start));
        let end = range.duration.map_or(i64::MAX, |d| start.saturating_add(d));
        let mut segments: Vec<MediaSegment> = Vec::new();
        let (mut began, mut failed) = (None, None);
        for file in files.iter().filter(|f| f.start < end && f.end() > start) {
            let link = encoded(&file.name);
            // What cannot be read is told where there is nothing else to play.
            let parts = self.parts(name, file, start - file.start, end.saturating_sub(file.start));
            let parts = parts.unwrap_or_else(|why| {
                failed.get_or_insert(why);
                Vec::new()
            });
            for (i, (part, from, duration)) in parts.into_iter().enumerate() {
                let at = file.start + from;
                began.get_or_insert(at);
                segments.push(MediaSegment {
                    map: Some(Map { uri: format!("{link}/init.mp4"), range: None }),
                    // Every file has a clock of its own.
                    discontinuity: i == 0 && !segments.is_empty(),
                    program_date_time: Some(at),
                    ..MediaSegment::new(format!("{link}/{part}"), Timestamp::new(duration, MICROSECONDS))
                });
            }
        }
        let began = began.ok_or_else(|| failed.unwrap_or_else(|| missing("Nothing was recorded then")))?;
        let longest = segments.iter().map(|s| s.duration.micros()).max().unwrap_or(0);
        let playlist = MediaPlaylist {
            target_duration: u32::try_from((longest + 500_000) / 1_000_000).unwrap_or(u32::MAX).max(1),
            independent_segments: true,
            segments,
            ended: true,
            ..MediaPlaylist::default()
        };
        let text = playlist.to_string();
        // A segment begins at a key frame, which may be before what was asked for.
        let skip = (start - began) as f64 / 1e6;
        match skip > 0.02 {
            true => {
                let tag = format!("#EXTM3U\n#EXT-X-START:TIME-OFFSET={skip:.3},PRECISE=YES\n");
                Ok(text.replacen("#EXTM3U\n", &tag, 1))
            }
            false => Ok(text),
        }
    }

    /// The segments of a file that have what is between two of its times: name, begin in it and length of each.
    fn parts(
        &self,
        name: &str,
        file: &Recorded,
        from: i64,
        to: i64,
    ) -> Result<Vec<(String, i64, i64)>, Refused> {
        if file.needs_twin() {
            return Ok(timed(file, from, to));
        }
        let Some(inside) = self.inside(&self.root.join(name).join(&file.name))? else {
            return Ok(Vec::new());
        };
        let named = |p: Piece| (format!("{}-{}.m4s", p.offset, p.length), p.start, p.duration);
        Ok(pieces(&inside, from, to).into_iter().map(named).collect())
    }

    /// What is in a file of MP4. `None` for one that retention has removed meanwhile: it is a gap as any other.
    fn inside(&self, path: &Path) -> Result<Option<Arc<FragmentedFile>>, Refused> {
        match self.insides.of(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            found => found.map(Some).map_err(unplayable),
        }
    }

    /// What `piece` of a file is of that is made fragmented MP4 first.
    fn twin_piece(&self, file: &str, container: Container, piece: &str) -> Result<Found, Refused> {
        let gone = || missing(GONE);
        let (name, of) = file.rsplit_once('/').ok_or_else(gone)?;
        let wanted = timed_of(piece).ok_or_else(|| missing("Not Found"))?;
        let found = self.insides.one(&self.root.join(name), container, of);
        // One that grows would be another one each time.
        let found = found.map_err(|e| unreadable(name, &e))?.ok_or_else(gone)?;
        // Others than the playlist names would be made of anything in it, and may be most of it.
        if wanted.is_some() && !timed(&found, i64::MIN, i64::MAX).iter().any(|(named, ..)| named == piece) {
            return Err(missing("Not Found"));
        }
        let twin = self.twins.of(&self.root.join(file), &found).map_err(unplayable)?;
        let name = format!("{}-{piece}", encoded(of));
        let Some((from, to)) = wanted else {
            return Ok(Found::Media { name, bytes: twin.inside.init.clone() });
        };
        let (at, length) = twin.find(from, to).filter(|(_, length)| *length <= MOST).ok_or_else(gone)?;
        let bytes = read(&twin.path, at, length).map_err(|e| unread(file, &e))?;
        Ok(Found::Media { name, bytes: bytes.into() })
    }

    /// A file's init segment, or a range of its fragments.
    fn piece(&self, file: &str, container: Container, piece: &str) -> Result<Found, Refused> {
        if container != Container::Mp4 {
            return self.twin_piece(file, container, piece);
        }
        let path = self.root.join(file);
        if !super::push::is_recorded(&path, Container::Mp4) {
            return Err(missing("Not Found"));
        }
        let gone = || missing(GONE);
        let name = format!("{}-{piece}", encoded(file.rsplit('/').next().unwrap_or(file)));
        // A path can be anything.
        std::fs::metadata(&path).map_err(|e| unread(file, &e))?;
        if piece == "init.mp4" {
            let inside = self.inside(&path)?.ok_or_else(gone)?;
            return Ok(Found::Media { name, bytes: inside.init.clone() });
        }
        let numbers = piece.strip_suffix(".m4s").and_then(|p| p.split_once('-'));
        let range =
            numbers.and_then(|(at, length)| Some((at.parse::<u64>().ok()?, length.parse::<u64>().ok()?)));
        let (at, length) = range.filter(|(_, length)| *length <= MOST).ok_or_else(|| missing("Not Found"))?;
        // What is in a file that grows stays where it is.
        let known = self.insides.known(&path).is_some_and(|inside| is_piece(&inside, at, length));
        if !known && !is_piece(&*self.inside(&path)?.ok_or_else(gone)?, at, length) {
            return Err(missing("Not Found"));
        }
        let bytes = read(&path, at, length).map_err(|e| unread(file, &e))?;
        Ok(Found::Media { name, bytes: bytes.into() })
    }
}

async fn answered(State(recordings): State<Recordings>, request: Request) -> Response {
    let path = request.uri().path().strip_prefix("/recordings").unwrap_or_default().to_string();
    let query = request.uri().query().unwrap_or_default().to_string();
    let found = tokio::task::spawn_blocking(move || recordings.find(&path, &query)).await;
    respond(request.headers(), found.unwrap_or_else(|_| Err((500, "it cannot be read".into()))))
}

fn told(what: &impl Serialize) -> Response {
    ([("access-control-allow-origin", "*"), ("cache-control", "no-cache")], Json(what)).into_response()
}

fn respond(headers: &HeaderMap, found: Result<Found, Refused>) -> Response {
    match found {
        Err((status, why)) => answer::failure(status, &why, None),
        Ok(Found::Names(names)) => told(&names),
        Ok(Found::View(view)) => told(&view),
        Ok(Found::Playlist(text)) => {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            let name = format!("{:x}", hasher.finish());
            answer::media(headers, &name, HLS, vec![text.into()], Cache::Now, 2).0
        }
        Ok(Found::Download(download)) => download.answer(),
        Ok(Found::Media { name, bytes }) => {
            answer::media(headers, &name, "video/mp4", vec![bytes], Cache::Forever, 2).0
        }
    }
}

/// What is asked for, in microseconds.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    start: Option<i64>,
    duration: Option<i64>,
}

impl Range {
    fn read(query: &str) -> Result<Range, String> {
        let mut range = Range { start: None, duration: None };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value).ok_or_else(|| format!("{name}: not readable"))?;
            let seconds =
                || value.parse::<f64>().ok().filter(|s| (0.0..=1e11).contains(s)).map(|s| (s * 1e6) as i64);
            match name {
                "start" => {
                    let date = DateTime::parse_from_rfc3339(&value).ok().map(|d| d.timestamp_micros());
                    let start = date.or_else(seconds);
                    range.start =
                        Some(start.ok_or("start: neither a date (RFC 3339) nor seconds since 1970")?);
                }
                "duration" => {
                    let duration = seconds().filter(|d| *d > 0);
                    range.duration = Some(duration.ok_or("duration: not a number of seconds above 0")?);
                }
                _ => {}
            }
        }
        Ok(range)
    }
}

/// Why a file is not played. What is wrong tells of the server's paths: that is for its log.
fn unplayable(e: ghoststream::Error) -> Refused {
    tracing::warn!("a recording is not played: {e}");
    let (status, why) = match e.kind() {
        ErrorKind::NotFound => (404, GONE),
        ErrorKind::Unsupported | ErrorKind::Invalid => (415, "MP4 cannot have what was recorded then"),
        ErrorKind::Busy => (503, "Too much is being played: try again later"),
        ErrorKind::Cancelled => (503, "The server ends"),
        _ => (500, "What was recorded then cannot be read; the server's log says why"),
    };
    (status, why.into())
}

/// `2026-11-20T23:38:16.123456Z`.
fn date(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A name in a URL.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What a part of a URL means; `None` for what means nothing.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        out.push(match byte {
            b'%' => u8::try_from(hex(bytes.next())? * 16 + hex(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let read = |query: &str| Range::read(query).map(|r| (r.start, r.duration));
        assert_eq!(read(""), Ok((None, None)));
        assert_eq!(read("start=1.5&duration=2&key=x"), Ok((Some(1_500_000), Some(2_000_000))));
        assert_eq!(read("start=1970-01-01T00:00:10.25Z"), Ok((Some(10_250_000), None)));
        assert_eq!(read("start=1970-01-01T01:00:10%2B01:00"), Ok((Some(10_000_000), None)));
        assert_eq!(read("start=1970-01-01T01:00:10+01:00"), Ok((Some(10_000_000), None)));
        for bad in ["start=", "start=now", "start=-1", "start=nan", "duration=0", "duration=x", "start=%zz"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_belongs_to_its_recording_however_it_is_written() {
        for (path, name) in [
            ("/live/cam/download.mp4", "live/cam"),
            ("/live%2Fcam%2Fdownload.mp4", "live/cam"),
            ("/live/cam/download.mp4/", "live/cam"),
            ("/live/cam/playlist.m3u8", "live/cam"),
            ("/live/cam", "live/cam"),
            ("/live/cam/2026-01-01_00-00-00.mp4/0-999.m4s", "live/cam"),
            ("/live%2fcam/2026-01-01_00-00-00.mp4%2F0-999.m4s", "live/cam"),
            ("/live/cam/2026-01-01_00-00-00.mkv/0-999.m4s", "live/cam"),
            ("/live/cam/2026-01-01_00-00-00.ts/init.mp4", "live/cam"),
            ("/cam/", "cam"),
            ("/cam.ts/low", "cam.ts/low"),
            ("/cam.ts/low/2026-01-01_00-00-00.ts/init.mp4", "cam.ts/low"),
            ("", ""),
        ] {
            assert_eq!(stream_of(path).as_deref(), Some(name), "{path}");
        }
    }

    #[test]
    fn what_needs_too_many_files_is_refused_before_any_is_made() {
        let dir = tempfile::tempdir().unwrap();
        // Called as a file would be.
        let inner = dir.path().join("cam.mkv/low");
        std::fs::create_dir_all(&inner).unwrap();
        let mut keys = Keys::default();
        (0..60).for_each(|n| keys.note(1_000_000 * n));
        let mut notes = Notes::begin(&inner, Container::Mkv, 100_000_000).unwrap();
        let mut put = |n: usize| {
            let name = format!("2026-01-01_00-00-{n:02}.mkv");
            std::fs::write(inner.join(&name), "x").unwrap();
            notes.follows(&name, 10.0, &mut keys);
        };
        (0..download::TWINS).for_each(&mut put);
        let recordings = Recordings::new(dir.path().into());
        let link = || match recordings.find("/cam.mkv/low", "") {
            Ok(Found::View(view)) => view.ranges.into_iter().next().unwrap().download,
            _ => panic!("it is not described"),
        };
        let refused = |query: &str| recordings.find("/cam.mkv/low/download.mp4", query).err().unwrap();
        assert!(link().is_some_and(|url| url.starts_with("/recordings/cam.mkv/low/download.mp4?")));
        // It is no film, and where it is is nobody's business.
        let (status, why) = refused("");
        assert!(status != 400 && !why.contains("/"), "{status}: {why}");
        put(download::TWINS);
        assert_eq!((link(), refused("").0), (None, 400));
        assert_ne!(refused("start=100&duration=15").0, 400);
        // Only what a playlist names is made.
        let file = "/cam.mkv/low/2026-01-01_00-00-00.mkv";
        let status = |piece: &str| recordings.find(&format!("{file}/{piece}"), "").err().unwrap();
        for piece in ["0-1999999.m4s", "0-9000000000.m4s", "1000000-2000000.m4s", "8000000-10000000.m4s"] {
            assert_eq!(status(piece), (404, "Not Found".into()), "{piece}");
        }
        for piece in ["init.mp4", "0-2000000.m4s", "8000000-12000000.m4s"] {
            assert!(status(piece).0 != 404, "{piece}: it is no film");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_gone_meanwhile_is_a_gap() {
        let dir = tempfile::tempdir().unwrap();
        let (name, inner) = ("2026-01-01_00-00-00.mkv", dir.path().join("cam"));
        std::fs::create_dir(&inner).unwrap();
        std::os::unix::fs::symlink(dir.path().join("gone"), inner.join(name)).unwrap();
        Notes::begin(&inner, Container::Mkv, 0).unwrap().follows(name, 10.0, &mut Keys::default());
        let recordings = Recordings::new(dir.path().into());
        assert_eq!(recordings.insides.list(&inner).unwrap().len(), 1, "it was there when it was looked");
        let refused = recordings.find("/cam/download.mp4", "").err().unwrap();
        assert_eq!(refused, (404, "Nothing was recorded then".into()));
    }

    #[test]
    fn what_cannot_be_read_is_not_said_to_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("cam");
        // Notes that are no file.
        std::fs::create_dir_all(inner.join("recording.mkv.jsonl")).unwrap();
        std::fs::write(inner.join("2026-01-01_00-00-00.mkv"), "x").unwrap();
        let recordings = Recordings::new(dir.path().into());
        let status =
            |path: &str| recordings.find(path, "").err().map(|(status, why)| (status, why.contains('/')));
        for path in
            ["/cam", "/cam/playlist.m3u8", "/cam/download.mp4", "/cam/2026-01-01_00-00-00.mkv/init.mp4"]
        {
            assert_eq!(status(path), Some((500, false)), "{path}");
        }
        let long = format!("/{}", "x".repeat(300));
        let longer = format!("{long}/2026-01-01_00-00-00.mp4/init.mp4");
        let inside = "/cam/2026-01-01_00-00-00.mkv/2026-01-01_00-00-00.mp4/0-6.m4s";
        for path in ["/none", "/cam/2026-01-01_00-00-00.mkv", &long, &longer, inside] {
            assert_eq!(status(path), Some((404, false)), "{path}");
        }
        // A file of MP4 that is none.
        std::fs::remove_dir(inner.join("recording.mkv.jsonl")).unwrap();
        std::fs::create_dir(inner.join("2026-01-01_00-00-10.mp4")).unwrap();
        let mut notes = Notes::begin(&inner, Container::Mp4, 0).unwrap();
        notes.follows("2026-01-01_00-00-10.mp4", 10.0, &mut Keys::default());
        for path in ["/cam/playlist.m3u8", "/cam/download.mp4", "/cam/2026-01-01_00-00-10.mp4/init.mp4"] {
            assert_eq!(status(path), Some((500, false)), "{path}");
        }
        // Beside what can be played it is a gap.
        let mut notes = Notes::begin(&inner, Container::Mkv, 60_000_000).unwrap();
        notes.follows("2026-01-01_00-00-00.mkv", 10.0, &mut Keys::default());
        let Ok(Found::Playlist(text)) = recordings.find("/cam/playlist.m3u8", "") else { panic!() };
        assert!(text.contains(".mkv/0-") && !text.contains(".mp4/"), "{text}");
    }

    #[test]
    fn names_lead_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("2026-01-01_00-00-00.mp4"), "secret").unwrap();
        let recordings = Recordings::new(dir.path().join("in"));
        for path in [
            "/../2026-01-01_00-00-00.mp4/0-6.m4s",
            "/%2e%2e/2026-01-01_00-00-00.mp4/0-6.m4s",
            "/a/..%2f../2026-01-01_00-00-00.mp4/0-6.m4s",
            "/..",
            "/%00",
            "/nothing",
            "/nothing/playlist.m3u8",
            "/passwd.mp4/0-6.m4s",
            "/in/../2026-01-01_00-00-00.mkv/0-6.m4s",
            "/2026-01-01_00-00-00.mkv/init.mp4",
            "/a/2026-01-01_00-00-00.ts/init.mp4",
        ] {
            assert_eq!(recordings.find(path, "").err().map(|e| e.0), Some(404), "{path}");
        }
        assert!(recordings.find("", "").is_ok());
    }
}
