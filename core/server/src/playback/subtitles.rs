//! Text subtitles beside the pictures: cues of a file or of a stream of the source, cut where the segments are.

use super::making::Text;
use super::session::Inner;
use crate::jobs::FileError;
use crate::worker::{Failure, Report};
use ghoststream::package::webvtt::{self, Cue};
use ghoststream::spec::SubtitleSpec;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::{OnceLock, Weak};
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest subtitle file that is read.
const LONGEST: u64 = 16 << 20;

/// A track of text of a film that several machines make: all that they need to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilmText {
    /// ISO 639 language.
    pub language: Option<String>,
    /// What players call it.
    pub title: Option<String>,
    /// Whether players show it unasked.
    pub default: bool,
    /// The stream of the source that it is in.
    pub stream: Option<usize>,
    /// What is in it, as WebVTT, when it is in no stream of the source.
    pub words: Option<String>,
}

impl FilmText {
    /// Reads a file of subtitles; the film begins at `start` seconds of it.
    ///
    /// # Errors
    /// In words.
    pub fn read(mut self, file: &Path, start: f64) -> Result<FilmText, String> {
        self.words = Some(webvtt::file(&shifted(read(file)?, start)));
        Ok(self)
    }
}

/// One track.
#[derive(Clone, Debug)]
pub(super) struct Subtitle {
    pub language: Option<String>,
    pub title: Option<String>,
    pub default: bool,
    /// The stream of the source that it is in, if it is in no file of its own.
    stream: Option<usize>,
    /// Those of a stream come when somebody asks for them.
    cues: OnceLock<Vec<Cue>>,
}

impl Subtitle {
    /// The track that `spec` means, time 0 of the output being `start` seconds of its file. The error is in words.
    pub fn open(spec: &SubtitleSpec, start: f64) -> Result<Subtitle, String> {
        let cues = match &spec.path {
            Some(path) => OnceLock::from(shifted(read(Path::new(path))?, start)),
            None => OnceLock::new(),
        };
        Ok(Subtitle {
            language: spec.language.clone(),
            title: spec.title.clone(),
            default: spec.default,
            stream: spec.stream,
            cues,
        })
    }

    /// A track of a film. The error is in words.
    pub fn of_film(text: &FilmText) -> Result<Subtitle, String> {
        let cues = match &text.words {
            Some(words) => OnceLock::from(webvtt::parse(words).map_err(|e| e.to_string())?),
            None => OnceLock::new(),
        };
        Ok(Subtitle {
            language: text.language.clone(),
            title: text.title.clone(),
            default: text.default,
            stream: text.stream.filter(|_| text.words.is_none()),
            cues,
        })
    }

    /// The stream of the source that it is in.
    pub fn stream(&self) -> Option<usize> {
        self.stream
    }

    /// As [`Subtitle`], with the cues that a run has written into `file`, if it is in the source.
    pub fn filled(&self, file: impl FnOnce(usize) -> std::io::Result<String>) -> std::io::Result<Subtitle> {
        let Some(stream) = self.stream else { return Ok(self.clone()) };
        let wrong =
            |e: ghoststream::Error| std::io::Error::new(std::io::ErrorKind::InvalidData, e.to_string());
        let cues = webvtt::parse(&file(stream)?).map_err(wrong)?;
        Ok(Subtitle { cues: OnceLock::from(cues), ..self.clone() })
    }

    fn cues(&self) -> &[Cue] {
        self.cues.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// The WebVTT of the cues shown from `start` to `end`; `mpegts`: the pictures' clock at 0.
    pub fn segment(&self, start: f64, end: f64, mpegts: i64) -> String {
        let micros = |t: f64| if t.is_finite() { (t * 1e6).round() as i64 } else { i64::MAX };
        webvtt::segment(self.cues(), if start <= 0.0 { i64::MIN } else { micros(start) }, micros(end), mpegts)
    }

    /// Everything in one file, for DASH.
    pub fn file(&self) -> String {
        webvtt::file(self.cues())
    }
}

fn read(path: &Path) -> Result<Vec<Cue>, String> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let size = std::fs::metadata(path).map_err(|e| format!("{name}: {e}"))?.len();
    if size > LONGEST {
        return Err(format!("{name}: longer than any subtitles"));
    }
    let bytes = std::fs::read(path).map_err(|e| format!("{name}: {e}"))?;
    let text = webvtt::decoded(&bytes);
    let text = text.trim_start_matches('\u{feff}');
    let cues = if text.starts_with("WEBVTT") {
        webvtt::parse(text).map_err(|e| format!("{name}: {e}"))?
    } else if text.contains("[Events]") {
        webvtt::parse_ass(text)
    } else {
        webvtt::parse_srt(text)
    };
    if cues.is_empty() {
        return Err(format!("{name}: no subtitles in it"));
    }
    Ok(cues)
}

fn shifted(cues: Vec<Cue>, start: f64) -> Vec<Cue> {
    let shift = (start * 1e6).round() as i64;
    let cues = cues.into_iter().map(|cue| Cue { start: cue.start - shift, end: cue.end - shift, ..cue });
    cues.filter(|cue| cue.end > 0).collect()
}

impl Inner {
    /// A track with its cues. Those in the source are read by one run over the whole of it, which goes on when nobody waits
    /// any more: whoever asks again finds them.
    pub(super) async fn cued(&self, index: usize, hold: Duration) -> Result<&Subtitle, FileError> {
        let subtitle = self.subtitles.get(index).ok_or(FileError::NotFound)?;
        let hold = hold.min(self.limits.patience);
        let until = tokio::time::Instant::now() + hold;
        let mut changes = self.changes.subscribe();
        loop {
            changes.borrow_and_update();
            if subtitle.cues.get().is_some() {
                return Ok(subtitle);
            }
            {
                let mut state = self.lock();
                match &state.text {
                    Text::Failed(why) => return Err(FileError::Failed(why.clone())),
                    Text::Read => return Err(FileError::NotFound),
                    Text::Reading(_) => {}
                    Text::Unread => {
                        let streams: Vec<usize> = self.subtitles.iter().filter_map(|s| s.stream).collect();
                        let started = self.runner.start(self.shape.texts(&streams));
                        state.text = Text::Reading(started.wheel);
                        state.heard += 1;
                        tokio::spawn(follow(self.me.clone(), started.reports));
                    }
                }
            }
            if !matches!(tokio::time::timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
                let late = format!("the subtitles were not read within {:.0} s", hold.as_secs_f64());
                return Err(FileError::Failed(late));
            }
        }
    }

    /// Takes over what the run has written. The error is in words.
    fn texts_are_read(&self) -> Result<(), String> {
        for subtitle in &self.subtitles {
            let Some(stream) = subtitle.stream else { continue };
            let text = std::fs::read_to_string(self.shape.text(stream)).map_err(|e| e.to_string())?;
            let cues = webvtt::parse(&text).map_err(|e| e.to_string())?;
            // Somebody may have been first.
            let _ = subtitle.cues.set(cues);
        }
        Ok(())
    }
}

/// Waits for the end of the run that reads subtitles.
async fn follow(inner: Weak<Inner>, mut reports: mpsc::UnboundedReceiver<Report>) {
    let mut end = Err("the run ended without a word".to_string());
    while let Some(report) = reports.recv().await {
        match report {
            Report::Done(done) => {
                end = match Failure::of_done(&done) {
                    Some(failure) => Err(failure.message),
                    None => Ok(()),
                };
                break;
            }
            Report::Lost(why) => {
                end = Err(why);
                break;
            }
            _ => {}
        }
    }
    let Some(inner) = inner.upgrade() else { return };
    let reader = inner.clone();
    if end.is_ok() {
        let read = tokio::task::spawn_blocking(move || reader.texts_are_read());
        end = read.await.unwrap_or_else(|e| Err(e.to_string()));
    }
    let mut state = inner.lock();
    // A session that was closed meanwhile reads them anew.
    if matches!(state.text, Text::Reading(_)) {
        state.text = match end {
            Ok(()) => Text::Read,
            Err(why) => Text::Failed(format!("the source's subtitles: {why}")),
        };
    }
    state.heard -= 1;
    drop(state);
    inner.changed();
}
