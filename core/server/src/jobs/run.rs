//! From the queue to the end: attempts in workers, and what follows from how they went.

use super::conform::conform;
use super::document::{Context, document, notes, source, usual_preset};
use super::ladder::Bounds;
use super::media::Media;
use super::queue::Waiting;
use super::record::{Live, Record, accel_of, now};
use super::retry::{self, Attempt, Next, Policy};
use super::steering::Steering;
use super::table::{Entry, RunHandle, RunSide, Table, Why};
use super::view::{JobEvent, Status};
use super::{Inner, Settings, decodes_on, failed_over, fetch, files, on_demand, stopped_decoding, upload};
use crate::contract::values::{Format, Mode, Priority, Word};
use crate::worker::{Failure, Gone, Report, Run, Sandbox, Worker};
use ghoststream::event::{Done, Progress};
use ghoststream::spec::{Device, LadderSpec, VideoChoice, VideoSpec};
use ghoststream::{ErrorKind, PipelineSpec};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a probe may take.
const PROBE: Duration = Duration::from_secs(90);

/// How long a worker may take to go, escalation included.
const FAREWELL: Duration = Duration::from_secs(20);

/// Starts jobs when there is room, until the server closes.
pub(super) async fn dispatch(inner: Arc<Inner>) {
    let mut closing = inner.closing.subscribe();
    loop {
        if *closing.borrow() {
            return;
        }
        let preempts = inner.settings().config.transcoding.enable_preemption;
        let wait = {
            let mut table = inner.table();
            while take_turn(&inner, &mut table, preempts) {}
            table.queue.next_time(now()).map(|t| Duration::from_secs_f64((t - now()).clamp(0.01, 3600.0)))
        };
        let timer = tokio::time::sleep(wait.unwrap_or(Duration::from_secs(3600)));
        tokio::select! {
            () = inner.wake.notified() => {}
            () = timer => {}
            _ = closing.changed() => {}
        }
    }
}

/// Starts, continues or halts one job, if any is to be.
fn take_turn(inner: &Arc<Inner>, table: &mut Table, preempts: bool) -> bool {
    if let Some(id) = table.queue.resume(now()) {
        if let Some(steering) = table.jobs.get(&id).and_then(|e| e.steering.as_ref()) {
            steering.resume();
        }
        tracing::info!(job = id, "goes on");
        return true;
    }
    if let Some(job) = table.queue.next(now()) {
        match table.jobs.get_mut(&job.id) {
            Some(entry) => {
                let (handle, side) = RunHandle::new();
                entry.run = Some(handle);
                tokio::spawn(one(inner.clone(), job.id, side));
            }
            None => table.queue.done(&job.id),
        }
        return true;
    }
    preempts && make_room(table)
}

/// Halts a job for a more urgent one that waits; one that has made nothing yet goes back into the queue instead, when its
/// worker has ended. So does one that holds a card's sessions, which the other may need, if it is of low priority. What is live
/// goes on whatever it is: what nobody reads meanwhile is lost.
fn make_room(table: &mut Table) -> bool {
    let jobs = &table.jobs;
    let may = |id: &str| {
        jobs.get(id).is_some_and(|e| {
            let begun = e.run.is_some() && (e.steering.is_some() || e.preparing);
            begun && !is_live(e) && (!on_card(e) || e.record.priority() == Priority::Low)
        })
    };
    let Some(id) = table.queue.displaced(now(), may).map(String::from) else { return false };
    let Some(entry) = jobs.get(&id) else { return false };
    match (&entry.steering, &entry.run) {
        (Some(steering), _) if !on_card(entry) => {
            steering.halt();
            table.queue.halt(&id);
            tracing::info!(job = id, "is halted for a more urgent job");
            true
        }
        (_, Some(run)) => {
            run.end(Why::Preempted);
            false
        }
        (_, None) => false,
    }
}

/// Whether a hardware encoder works for it.
fn on_card(entry: &Entry) -> bool {
    entry.record.accel().is_some_and(|accel| accel != "software")
}

/// Whether its source goes on while nobody reads it: by its scheme, or a playlist or an answer that was found to have no end.
fn is_live(entry: &Entry) -> bool {
    let Some((scheme, _)) = entry.record.source.split_once("://") else { return false };
    let scheme = scheme.to_ascii_lowercase();
    let endless = entry.steering.is_some() && entry.record.duration.is_none();
    endless || ["rtmp", "rtmps", "rtsp", "rtsps", "srt", "rtp", "udp", "tcp"].contains(&scheme.as_str())
}

/// How an attempt ended.
enum End {
    Complete,
    Failed(Failure),
    /// Somebody wanted it to.
    Ended(Why),
}

/// One turn of a job.
async fn one(inner: Arc<Inner>, id: String, mut side: RunSide) {
    let end = attempt(&inner, &id, &mut side.why).await;
    let again = follow(&inner, &id, end).await;
    let cleaned = {
        let mut table = inner.table();
        table.queue.done(&id);
        let entry = table.jobs.get_mut(&id);
        let status = entry.as_ref().map(|e| e.record.status);
        let cleaned = entry.is_none_or(|entry| {
            entry.run = None;
            entry.preparing = false;
            entry.record.cleaned
        });
        // It may have been cancelled since.
        if let Some(waiting) = again.filter(|_| status == Some(Status::Queued)) {
            table.queue.put_back(waiting);
        }
        cleaned
    };
    if cleaned {
        let (this, job) = (inner.clone(), id.clone());
        if let Err(e) = tokio::task::spawn_blocking(move || this.remove_files(&job)).await {
            tracing::error!(error = %e, "removing files");
        }
    }
    side.over.send_replace(true);
    inner.wake.notify_one();
}

/// What follows from the end of an attempt; a place in the queue, if there is another one.
async fn follow(inner: &Arc<Inner>, id: &str, end: End) -> Option<Waiting> {
    match end {
        End::Complete => {
            let accel = inner.table().jobs.get(id).filter(|e| !e.failed_over).and_then(|e| e.record.accel());
            if let Some(accel) = accel.filter(|a| *a != "software") {
                inner.cooldowns.worked(accel);
            }
            if let Some(device) = inner.table().jobs.get_mut(id).and_then(|e| e.decodes_on.take()) {
                inner.cooldowns.decoder_worked(&device);
            }
            let directory = inner.directory(id);
            let bytes = tokio::task::spawn_blocking(move || files::size(&directory)).await.unwrap_or(0);
            inner.set_status(id, Status::Ready, |r| {
                r.bytes = bytes;
                r.reached = r.duration.unwrap_or(r.reached);
                r.duration = Some(r.duration.unwrap_or(r.reached));
                r.stored = inner.uploads.as_ref().and_then(|u| u.promise(r));
            });
            upload::begin(inner, id);
            None
        }
        End::Ended(Why::Closing | Why::Preempted) => {
            again(inner, id, Duration::ZERO, "put back into the queue".into())
        }
        End::Ended(Why::Quota) => fail(inner, id, "the disk quota for jobs is used up".into()),
        // Its status was set by whoever cancelled it.
        End::Ended(_) => None,
        End::Failed(failure) => failed(inner, id, &failure),
    }
}

fn fail(inner: &Arc<Inner>, id: &str, message: String) -> Option<Waiting> {
    // What is left of it is worth nothing.
    if let Err(e) = files::empty(&inner.directory(id))
        && e.kind() != std::io::ErrorKind::NotFound
    {
        tracing::debug!(job = id, error = %e, "files of a failed job");
    }
    inner.set_status(id, Status::Error, |r| r.error = Some(message));
    None
}

fn failed(inner: &Arc<Inner>, id: &str, failure: &Failure) -> Option<Waiting> {
    let settings = inner.settings();
    let config = &settings.config;
    let mut off = None;
    let next = {
        let table = inner.table();
        let record = &table.jobs.get(id)?.record;
        let hardware = record.accel().filter(|a| *a != "software");
        let known = record.duration.is_some() || record.frames > 0 || record.encoder.is_some();
        let retries = config.transcoding.retry_count;
        // A source that never answered is probably a mistake in its address: one more try, not minutes of them.
        let retries = if known { retries } else { retries.min(1) };
        let attempt = Attempt {
            count: record.attempts,
            hardware,
            fallback: config.hardware.fallback_to_software && !record.software,
        };
        let policy = Policy { retries, delay: config.transcoding.retry_delay };
        let next = retry::next(failure, attempt, policy, luck());
        if let Some(accel) = hardware.filter(|_| retry::class(failure, true) == retry::Class::Hardware) {
            off = inner.cooldowns.failed(accel);
        }
        next
    };
    if let (Some(off), Some(entry)) = (off, inner.table().jobs.get_mut(id)) {
        entry.record.warn(off);
    }
    match next {
        Next::GiveUp => fail(inner, id, failure.message.clone()),
        Next::Again { after, software: true } => {
            if let Some(entry) = inner.table().jobs.get_mut(id) {
                entry.record.software = true;
            }
            again(inner, id, after, format!("hardware failed, going on in software: {}", failure.message))
        }
        Next::Again { after, software: false } => {
            let seconds = after.as_secs_f64();
            again(inner, id, after, format!("tried again after {seconds:.0} s: {}", failure.message))
        }
    }
}

/// The place in the queue of a job that gets another turn.
fn again(inner: &Arc<Inner>, id: &str, after: Duration, why: String) -> Option<Waiting> {
    inner.set_status(id, Status::Queued, |r| {
        r.warn(why);
        (r.reached, r.frames) = (0.0, 0);
    });
    let table = inner.table();
    let entry = table.jobs.get(id)?;
    Some(entry.record.waiting(now() + after.as_secs_f64()))
}

/// A number from 0 to 1 that differs from try to try.
fn luck() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
}

/// One attempt, from a fresh directory to a finished output.
async fn attempt(inner: &Arc<Inner>, id: &str, why: &mut watch::Receiver<Why>) -> End {
    let gone = Mutex::new(None);
    let work = work(inner, id, &gone);
    let ended = async {
        let asked = why.wait_for(|w| *w != Why::No).await.map(|why| *why);
        match asked {
            Ok(why) => why,
            Err(_) => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        // The worker ends with the future that holds it.
        why = ended => End::Ended(why),
        result = work => match result {
            Ok(()) => return End::Complete,
            Err(failure) => End::Failed(failure),
        },
    };
    // A worker goes when nobody holds it or its wheel any more.
    let session = {
        let mut table = inner.table();
        table.steer(id, None);
        table.jobs.get_mut(id).and_then(|e| e.session.take())
    };
    if let Some(session) = session {
        session.close().await;
    }
    // Whoever comes next in this directory must be alone there.
    let gone = gone.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(gone) = gone
        && tokio::time::timeout(FAREWELL, gone.wait()).await.is_err()
    {
        tracing::warn!(job = id, "its worker is still there");
    }
    end
}

/// What an attempt begins with.
pub(super) struct Prepared {
    pub worker: Worker,
    pub sandbox: Sandbox,
    pub probe: serde_json::Value,
    pub media: Media,
    pub spec: PipelineSpec,
    pub directory: PathBuf,
    /// The request's subtitle files, as far as they could be had.
    pub subtitles: Vec<Option<PathBuf>>,
    /// What the machine allowed when the document was written.
    pub bounds: Bounds,
    /// What its encoders would have as preset on a machine at its best.
    pub preset: ghoststream::spec::Preset,
}

async fn work(inner: &Arc<Inner>, id: &str, held: &Mutex<Option<Gone>>) -> Result<(), Failure> {
    let gone = || Failure { kind: Some(ErrorKind::Cancelled), message: "the job has gone".into() };
    inner.set_status(id, Status::Processing, |r| {
        r.attempts += 1;
        r.started.get_or_insert(now());
        r.error = None;
    });
    let settings = inner.settings();
    let record = {
        let mut table = inner.table();
        let entry = table.jobs.get_mut(id).ok_or_else(gone)?;
        (entry.preparing, entry.failed_over, entry.decodes_on) = (true, false, None);
        entry.record.copy_start = None;
        // `auto` would find the encoder again that is off.
        let off = inner.cooldowns.against(entry.record.request.output.hw_accel.name());
        if let Some(off) = off.filter(|_| {
            settings.config.hardware.fallback_to_software
                && !entry.record.software
                && !entry.record.request_software(&settings)
        }) {
            entry.record.software = true;
            entry.record.warn(format!("{off}; going on in software"));
        }
        entry.record.clone()
    };
    let mut prepared = prepare(inner, &record, held).await?;
    if let Some(entry) = inner.table().jobs.get_mut(id) {
        entry.record.duration = prepared.media.duration.map(|d| (d - record.request.start_time).max(0.0));
        entry.record.encoder = None;
        entry.record.media_info = Some(prepared.media.describe());
        if record.software && !record.request_software(&settings) {
            entry.record.encoder = Some("software".into());
        }
    }
    if on_demand::wanted(&record, &settings, &prepared.media)? {
        match on_demand::open(inner, &record, prepared).await {
            Ok(session) => return on_demand::first(inner, id, &session).await,
            Err(why) => {
                if let Some(entry) = inner.table().jobs.get_mut(id) {
                    entry.record.warn(format!("not on demand: {why}"));
                }
                prepared = prepare(inner, &record, held).await?;
            }
        }
    }
    let decision = conform(inner, &record, &mut prepared).await;
    if let Some(entry) = inner.table().jobs.get_mut(id) {
        tracing::info!(job = id, method = decision.method, reason = decision.reason, "decided");
        entry.record.decision = Some(decision);
        entry.record.variants = Some(variants(&prepared.spec, &prepared.media));
    }
    let Prepared { worker, mut spec, directory, preset, .. } = prepared;
    if let Some(off) = encoded_on(&spec).and_then(|device| inner.cooldowns.against_decoder(device)) {
        spec.source.decode.device = Device::Software;
        if let Some(entry) = inner.table().jobs.get_mut(id) {
            entry.record.warn(off);
        }
    }
    let rates = video_rates(&spec, inner.table().bounds.quality);
    let mut run = worker.run(spec);
    if let Some(entry) = inner.table().jobs.get_mut(id) {
        entry.steering = Some(Steering::new(run.control(), rates, preset));
        entry.preparing = false;
    }
    let done = listen(inner, id, &mut run).await;
    inner.table().steer(id, None);
    let done = done?;
    if let Some(failure) = Failure::of_done(&done) {
        return Err(failure);
    }
    let archived = record.request.mode == Mode::Batch
        && matches!(record.request.output.format, Format::Hls | Format::Dash);
    if archived {
        let packed = tokio::task::spawn_blocking(move || files::archive(&directory)).await;
        let io = |e: &dyn std::fmt::Display| Failure {
            kind: Some(ErrorKind::Io),
            message: format!("the archive: {e}"),
        };
        packed.map_err(|e| io(&e))?.map_err(|e| io(&e))?;
    }
    Ok(())
}

/// What clients are told of the qualities that are made.
fn variants(spec: &PipelineSpec, media: &Media) -> Vec<serde_json::Value> {
    let outputs = spec.outputs.first();
    let rungs = outputs.and_then(|o| match (&o.ladder, &o.video) {
        (Some(LadderSpec::Rungs(rungs)), _) => Some(rungs.iter().collect::<Vec<_>>()),
        (_, VideoChoice::Track(video)) => Some(vec![&**video]),
        _ => None,
    });
    let source = media.video.as_ref();
    let told = |v: &VideoSpec| match v.is_copy() {
        true => variant(source.map(|s| (s.width, s.height)), source.and_then(|s| s.bit_rate)),
        false => {
            let size = v.width.zip(v.height).or(source.map(|s| (s.width, s.height)));
            variant(size, v.bitrate.map(|b| b.0))
        }
    };
    rungs.unwrap_or_default().into_iter().map(told).collect()
}

/// What clients are told of a quality.
pub(super) fn variant(size: Option<(u32, u32)>, bitrate: Option<u64>) -> serde_json::Value {
    serde_json::json!({ "width": size.map(|s| s.0), "height": size.map(|s| s.1), "bitrate": bitrate })
}

/// Bits per second of each video track as they would be on a machine at its best.
fn video_rates(spec: &PipelineSpec, quality: f64) -> Vec<u64> {
    let Some(output) = spec.outputs.first() else { return Vec::new() };
    let tracks: Vec<&VideoSpec> = match (&output.ladder, &output.video) {
        (Some(LadderSpec::Rungs(rungs)), _) => rungs.iter().collect(),
        (_, VideoChoice::Track(video)) => vec![&**video],
        _ => Vec::new(),
    };
    let full = |rate: u64| (rate as f64 / quality.clamp(0.1, 1.0)) as u64;
    tracks.into_iter().filter_map(|t| t.bitrate).map(|b| full(b.0)).collect()
}

/// Opens the source and decides what is made of it, in a fresh directory, with a worker that may do just that; `held` is
/// told of the worker.
pub(super) async fn prepare(
    inner: &Arc<Inner>,
    record: &Record,
    held: &Mutex<Option<Gone>>,
) -> Result<Prepared, Failure> {
    let settings = inner.settings();
    let bounds = inner.table().bounds;
    let directory = inner.directory(&record.id);
    clear(&directory)?;
    let subtitles = subtitles(inner, record, &settings, directory.clone()).await;
    let worker = inner.pool.take().await?;
    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker.gone());
    let sandbox = sandbox(record, &settings, &directory, &subtitles);
    if !worker.confine(sandbox.clone()).await? {
        tracing::debug!(job = record.id, "this kernel has no Landlock");
    }
    let mut opened = source(&record.request, &record.source, settings.policy.protocols(), true);
    opened.hosts = settings.policy.leads();
    let probe = match tokio::time::timeout(PROBE, worker.probe(&opened, false)).await {
        Ok(probe) => probe.map_err(|e| unreachable_source(record, e))?,
        Err(_) => {
            let late = Failure { kind: Some(ErrorKind::Io), message: "it does not answer in time".into() };
            return Err(unreachable_source(record, late));
        }
    };
    let media = Media::of(&probe);
    let context = Context {
        config: &settings.config,
        source: &record.source,
        protocols: settings.policy.protocols(),
        media: &media,
        subtitles: &subtitles,
        directory: &directory,
        bounds,
        software: record.software,
    };
    let mut spec = document(&record.request, &context).map_err(|unfit| Failure {
        kind: Some(ErrorKind::Invalid),
        message: format!("{}: {}", unfit.field, unfit.message),
    })?;
    spec.source.hosts = opened.hosts;
    let preset = usual_preset(&record.request, &context);
    if let Some(entry) = inner.table().jobs.get_mut(&record.id) {
        notes(&record.request, &context).into_iter().for_each(|note| entry.record.warn_once(note));
    }
    Ok(Prepared { worker, sandbox, probe, media, spec, directory, subtitles, bounds, preset })
}

impl Record {
    /// Whether it would be made in software anyway.
    fn request_software(&self, settings: &Settings) -> bool {
        super::document::placed(&self.request, &settings.config, false) == Device::Software
    }
}

fn clear(directory: &std::path::Path) -> Result<(), Failure> {
    let made = files::create(directory).and_then(|()| files::empty(directory));
    made.map_err(|e| Failure { kind: Some(ErrorKind::Io), message: format!("the job's directory: {e}") })
}

pub(super) fn unreachable_source(record: &Record, failure: Failure) -> Failure {
    let source = crate::policy::masked(&record.source);
    let message =
        format!("Failed to get media info from: {source}. Check URL accessibility. ({})", failure.message);
    Failure { message, ..failure }
}

/// The request's subtitle files. One that cannot be had is left out, with a warning.
pub(super) async fn subtitles(
    inner: &Arc<Inner>,
    record: &Record,
    settings: &Arc<Settings>,
    directory: PathBuf,
) -> Vec<Option<PathBuf>> {
    let tracks = record.request.subtitles.clone().unwrap_or_default();
    let settings = settings.clone();
    let fetched = tokio::task::spawn_blocking(move || {
        let directory = directory.join(files::SUBTITLES);
        let fetch = |(n, t): (usize, &crate::contract::request::SubtitleTrack)| {
            fetch::subtitles(&t.url, &settings.policy, &directory, n)
        };
        tracks.iter().enumerate().map(fetch).collect::<Vec<_>>()
    });
    let fetched = fetched.await.unwrap_or_default();
    let mut table = inner.table();
    let mut entry = table.jobs.get_mut(&record.id);
    let each = fetched.into_iter().enumerate().map(|(n, result)| match result {
        Ok(path) => Some(path),
        Err(e) => {
            if let Some(entry) = &mut entry {
                entry.record.warn(format!("subtitles.{n}: left out: {e}"));
            }
            None
        }
    });
    each.collect()
}

/// What a worker needs for the job.
fn sandbox(
    record: &Record,
    settings: &Settings,
    directory: &std::path::Path,
    subtitles: &[Option<PathBuf>],
) -> Sandbox {
    let limit = settings.config.limits.max_file_size_gb;
    let mut read: Vec<PathBuf> = subtitles.iter().flatten().cloned().collect();
    if !record.source.contains("://") {
        // A local playlist has its segments beside it.
        let path = PathBuf::from(&record.source);
        read.push(path.parent().map(PathBuf::from).unwrap_or(path));
    }
    Sandbox { read, write: vec![directory.into()], max_file: (limit > 0.0).then_some((limit * 1e9) as u64) }
}

/// The device that pictures are encoded on; `None` where they are copied, or encoded in software.
fn encoded_on(spec: &PipelineSpec) -> Option<Device> {
    let encoded = spec.outputs.iter().filter_map(|o| match &o.video {
        VideoChoice::Track(v) if !v.is_copy() => Some(v.device),
        _ => None,
    });
    encoded.into_iter().find(|device| *device != Device::Software)
}

/// Passes on what a run says, until its end.
async fn listen(inner: &Arc<Inner>, id: &str, run: &mut Run) -> Result<Done, Failure> {
    while let Some(report) = run.next().await {
        match report {
            Report::Plan(plan) => {
                if let Some(entry) = inner.table().jobs.get_mut(id) {
                    entry.record.begin_at(plan.copy_start);
                    // A file takes the place of its source; a stream is made beside it.
                    if entry.record.request.mode == Mode::Batch {
                        let left_out = plan.outputs.iter().flat_map(|o| &o.left_out);
                        left_out.for_each(|what| entry.record.warn_once(format!("left out: {what}")));
                    }
                    entry.decodes_on = decodes_on(&plan);
                    if let Some(encoder) = plan.video_encoder() {
                        entry.record.encoder = Some(encoder.into());
                        tracing::info!(job = id, encoder, accel = accel_of(encoder), "encoding");
                    }
                }
            }
            Report::Progress(progress) => moved(inner, id, &progress),
            Report::Warning { code, message } => {
                // Transfers are everyday matters.
                if code != "transfer"
                    && let Some(entry) = inner.table().jobs.get_mut(id)
                {
                    // Once a run: the rungs of a ladder fail together.
                    if let Some(accel) = failed_over(&message)
                        && !std::mem::replace(&mut entry.failed_over, true)
                    {
                        let off = inner.cooldowns.failed(accel);
                        off.into_iter().for_each(|off| entry.record.warn(off));
                    }
                    if stopped_decoding(&message)
                        && let Some(device) = entry.decodes_on.take()
                    {
                        let off = inner.cooldowns.decoder_failed(&device, &entry.record.request.source);
                        off.into_iter().for_each(|off| entry.record.warn(off));
                    }
                    entry.record.warn(message);
                }
            }
            Report::Segment { .. } => {
                if let Some(entry) = inner.table().jobs.get(id) {
                    entry.changed.notify_waiters();
                }
            }
            Report::Done(done) => return Ok(done),
            Report::Lost(why) => return Err(Failure::lost(why)),
        }
    }
    Err(Failure::lost("the worker is gone"))
}

fn moved(inner: &Inner, id: &str, p: &Progress) {
    let event = {
        let mut table = inner.table();
        let halted = table.queue.is_halted(id);
        let Some(entry) = table.jobs.get_mut(id) else { return };
        let record = &mut entry.record;
        if let Some(steering) = entry
            .steering
            .as_ref()
            .filter(|_| halted && (p.frames > record.frames || p.time + record.lead() > record.reached))
        {
            // It was told before it had begun, and did not hear it.
            steering.halt();
        }
        // The engine counts from the time that was asked for.
        let lead = record.lead();
        (record.reached, record.frames, record.bytes) = (p.time + lead, p.frames, p.bytes);
        if let Some(duration) = p.duration {
            record.duration = Some(duration + lead);
        }
        entry.live = Live { eta: p.eta, speed: p.speed, fps: p.fps };
        JobEvent::Progress {
            job: id.into(),
            progress: record.progress(),
            frame: p.frames,
            fps: p.fps,
            time: record.reached,
            speed: p.speed,
        }
    };
    // Nobody may listen.
    let _heard = inner.events.send(event);
}

#[cfg(test)]
mod tests;
