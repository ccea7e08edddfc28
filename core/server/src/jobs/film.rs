//! Films that several nodes make together: what each of them does with its workers.

use super::document::{Context, document, source};
use super::media::Media;
use super::{Bounds, Inner, Jobs, Relief, files};
use crate::contract::request::TranscodeRequest;
use crate::contract::values::{HwAccel, Mode};
use crate::playback::{Film, FilmFile};
use crate::worker::{Failure, Report, Sandbox};
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
}

impl FilmPlan {
    /// The film, as it is made in `directory`.
    ///
    /// # Errors
    /// As [`Film::new`].
    pub fn film(&self, directory: &Path) -> Result<Film, String> {
        Film::new(&self.spec, &self.probe, directory)
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
        if request.mode == Mode::Batch || request.subtitles.is_some() || request.profile.is_some() {
            return Err(invalid(
                "request: a film that nodes share has mode stream or abr, no subtitles and no profile",
            ));
        }
        let policy = settings.policy.clone();
        let named = request.source.clone();
        let checked = tokio::task::spawn_blocking(move || policy.check(named.trim())).await;
        request.source = checked
            .map_err(|e| io("source", &e))?
            .map_err(|why| Failure { kind: Some(ErrorKind::Denied), message: format!("source: {why}") })?;
        let scratch = Scratch::new(inner)?;
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
        let plan = FilmPlan { spec, probe };
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
        let worker = inner.pool.take().await?;
        worker.confine(sandbox(&url, &scratch.0)).await?;
        let mut run = worker.run(film.document(first, end));
        loop {
            match run.next().await {
                Some(Report::Done(done)) => match Failure::of_done(&done) {
                    Some(failure) => return Err(failure),
                    None => break,
                },
                Some(Report::Lost(why)) => return Err(Failure::lost(why)),
                Some(_) => {}
                None => return Err(Failure::lost("the worker is gone")),
            }
        }
        let read = tokio::task::spawn_blocking(move || {
            let files = film.collect(first, end);
            drop(scratch);
            files
        });
        read.await.map_err(|e| io("reading segments", &e))?.map_err(|e| io("a segment was not made", &e))
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
