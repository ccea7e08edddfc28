//! Films that several nodes make together: what each of them does with its workers.

use super::document::{Context, document, source};
use super::media::Media;
use super::{Bounds, Inner, Jobs, Relief, fetch, files};
use crate::contract::request::TranscodeRequest;
use crate::contract::values::{HwAccel, Mode};
use crate::playback::{Film, FilmFile, FilmText};
use crate::worker::{Failure, Report, Sandbox};
use ghoststream::spec::SubtitleChoice;
use ghoststream::{ErrorKind, PipelineSpec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(90);

/// What every node needs to know to make its part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FilmPlan {
    /// The document that would make the whole.
    pub spec: PipelineSpec,
    /// What is in its source.
    pub probe: Value,
    /// Its text: that of the source, and of files that were fetched when it was planned.
    #[serde(default)]
    pub texts: Vec<FilmText>,
}

impl FilmPlan {
    /// The film, as it is made in `directory`.
    ///
    /// # Errors
    /// As [`Film::new`].
    pub fn film(&self, directory: &Path) -> Result<Film, String> {
        Film::new(&self.spec, &self.probe, &self.texts, directory)
    }
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure { kind: Some(ErrorKind::Invalid), message: message.into() }
}

fn io(what: &str, e: &dyn std::fmt::Display) -> Failure {
    Failure { kind: Some(ErrorKind::Io), message: format!("{what}: {e}") }
}

/// A directory that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new(inner: &Inner) -> Result<Scratch, Failure> {
        let path = inner.root.join(files::WORK).join(format!("film-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).map_err(|e| io("a directory for a film", &e))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(error = %e, "a directory of a film");
        }
    }
}

impl Jobs {
    /// Looks into the source of `request` and plans how it is made. Encoders are those of software unless the request names
    /// others: all parts must come from the same one.
    ///
    /// # Errors
    /// The source is not allowed or cannot be opened; something is asked for that parts cannot have.
    pub async fn plan_film(&self, mut request: TranscodeRequest) -> Result<FilmPlan, Failure> {
        let inner = &self.0;
        let settings = inner.settings();
        if request.mode == Mode::Batch || request.profile.is_some() {
            return Err(invalid("request: a film that nodes share has mode stream or abr, and no profile"));
        }
        let wanted = request.subtitles.take().unwrap_or_default();
        if let Some(n) = wanted.iter().position(|track| track.burn_in) {
            return Err(invalid(format!("request.subtitles.{n}.burn_in: not in a film that nodes share")));
        }
        let policy = settings.policy.clone();
        let named = request.source.clone();
        let checked = tokio::task::spawn_blocking(move || policy.check(named.trim())).await;
        request.source = checked
            .map_err(|e| io("source", &e))?
            .map_err(|why| Failure { kind: Some(ErrorKind::Denied), message: format!("source: {why}") })?;
        let scratch = Scratch::new(inner)?;
        let (policy, below, start) = (settings.policy.clone(), scratch.0.clone(), request.start_time);
        let read = tokio::task::spawn_blocking(move || {
            let each = wanted.into_iter().enumerate().map(|(n, track)| {
                let text = FilmText {
                    language: Some(track.language).filter(|l| l != "und"),
                    title: track.label,
                    default: track.default,
                    stream: None,
                    words: None,
                };
                let file = fetch::subtitles(&track.url, &policy, &below, n);
                let read = file.and_then(|file| text.read(&file, start));
                read.map_err(|why| format!("request.subtitles.{n}: {why}"))
            });
            each.collect::<Result<Vec<FilmText>, String>>()
        });
        let mut texts = read.await.map_err(|e| io("subtitles", &e))?.map_err(invalid)?;
        let worker = inner.pool.take().await?;
        worker.confine(sandbox(&request.source, &scratch.0)).await?;
        let mut opened = source(&request, &request.source, settings.policy.protocols(), true);
        opened.hosts = settings.policy.leads();
        let probe = tokio::time::timeout(PROBE, worker.probe(&opened, false))
            .await
            .map_err(|_| io("source", &"it does not answer in time"))??;
        let media = Media::of(&probe);
        let context = Context {
            config: &settings.config,
            source: &request.source,
            protocols: settings.policy.protocols(),
            media: &media,
            subtitles: &[],
            directory: Path::new("/"),
            // Made once, for many: not less because this node is busy now.
            bounds: Bounds { quality: 1.0, load: Relief::default(), ..inner.table().bounds },
            software: request.output.hw_accel == HwAccel::Auto,
        };
        let mut spec = document(&request, &context)
            .map_err(|unfit| invalid(format!("{}: {}", unfit.field, unfit.message)))?;
        spec.source.hosts = opened.hosts;
        // Another encoder in the middle of a film would not fit what players were told.
        spec.fallback = false;
        texts.extend(media.texts.iter().map(|text| FilmText {
            language: text.language.clone(),
            title: text.title.clone(),
            default: text.default,
            stream: Some(text.stream),
            words: None,
        }));
        for output in &mut spec.outputs {
            output.subtitles = SubtitleChoice::None;
        }
        let plan = FilmPlan { spec, probe, texts };
        plan.film(Path::new("/")).map_err(invalid)?;
        Ok(plan)
    }

    /// Makes segments `first` to before `end` of a film, with a worker.
    ///
    /// # Errors
    /// Why they could not be made.
    pub async fn make_film(&self, plan: &FilmPlan, first: u64, end: u64) -> Result<Vec<FilmFile>, Failure> {
        let inner = &self.0;
        // The plan came from elsewhere: its source is held against this node's policy too.
        let url = plan.spec.source.url.clone().ok_or_else(|| invalid("source: there is none"))?;
        let (policy, named) = (inner.settings().policy.clone(), url.clone());
        tokio::task::spawn_blocking(move || policy.check(&named))
            .await
            .map_err(|e| io("source", &e))?
            .map_err(|why| Failure { kind: Some(ErrorKind::Denied), message: format!("source: {why}") })?;
        let scratch = Scratch::new(inner)?;
        let film = plan.film(&scratch.0).map_err(invalid)?;
        if let Some(texts) = film.texts().filter(|_| first == 0)
            && let Err(e) = run(inner, texts, sandbox(&url, &scratch.0)).await
        {
            // As in playback: the film is worth more than its words.
            tracing::warn!("the text of a film cannot be read: {}", e.message);
        }
        run(inner, film.document(first, end), sandbox(&url, &scratch.0)).await?;
        let read = tokio::task::spawn_blocking(move || {
            let files = film.collect(first, end);
            drop(scratch);
            files
        });
        read.await.map_err(|e| io("reading segments", &e))?.map_err(|e| io("a segment was not made", &e))
    }
}

/// Runs a document to its end, with a worker of its own.
async fn run(inner: &Inner, document: PipelineSpec, sandbox: Sandbox) -> Result<(), Failure> {
    let worker = inner.pool.take().await?;
    worker.confine(sandbox).await?;
    let mut run = worker.run(document);
    loop {
        match run.next().await {
            Some(Report::Done(done)) => return Failure::of_done(&done).map_or(Ok(()), Err),
            Some(Report::Lost(why)) => return Err(Failure::lost(why)),
            Some(_) => {}
            None => return Err(Failure::lost("the worker is gone")),
        }
    }
}

/// What a worker needs for a film.
fn sandbox(source: &str, directory: &Path) -> Sandbox {
    let mut read = Vec::new();
    if !source.contains("://") {
        let path = PathBuf::from(source);
        read.push(path.parent().map(PathBuf::from).unwrap_or(path));
    }
    Sandbox { read, write: vec![directory.into()], max_file: None }
}
