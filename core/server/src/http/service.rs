//! Routes about the service itself.

use super::answer::{Answer, Fail};
use super::{App, query};
use crate::contract::fields::FieldError;
use crate::contract::service::{
    Accel, ActiveCheck, Capabilities, Checks, CleanupResult, CleanupStats, ClientLine, CpuCheck,
    DetailedHealth, DiskCheck, GpuInfo, Health, Live, MemoryCheck, QueueCheck, Ready, SharedStream,
    SharedStreams, Stats, Status,
};
use crate::jobs;
use crate::logs::Line;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use ghoststream::device::Devices;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Kinds of encoders in the order in which clients get them.
const ACCELS: [&str; 6] = ["nvenc", "qsv", "vaapi", "amf", "videotoolbox", "software"];

/// `GET /api/health`.
pub async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    let stats = app.jobs.stats();
    let devices = app.devices.borrow().clone();
    Json(Health {
        status: "healthy".into(),
        version: ghoststream::VERSION.into(),
        uptime_seconds: app.started.elapsed().as_secs_f64(),
        current_jobs: stats.active as u64,
        queued_jobs: stats.queued as u64,
        hw_accels: devices.map(|d| available(&d)).unwrap_or_default(),
    })
}

/// `GET /api/health/detailed`: 503 when unhealthy.
pub async fn detailed(State(app): State<Arc<App>>) -> (StatusCode, Json<DetailedHealth>) {
    let stats = app.jobs.stats();
    let machine = app.machine.borrow().clone();
    let memory = machine_memory();
    let (disk_used, free_gb) = disk(&app.settings().config.temp_directory());
    let queue_used = match stats.queue_limit {
        0 => 0.0,
        most => stats.queued as f64 / most as f64 * 100.0,
    };
    let ([cpu, ram, disk, queue], status) =
        judged([machine.realtime.cpu_percent, memory.0, disk_used, queue_used]);
    let code = if status == "unhealthy" { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let answer = DetailedHealth {
        status: status.into(),
        version: ghoststream::VERSION.into(),
        environment: std::env::var("GHOSTSTREAM_ENV").unwrap_or_else(|_| "development".into()),
        uptime_seconds: app.started.elapsed().as_secs_f64(),
        checks: Checks {
            cpu: CpuCheck { status: cpu.into(), usage_percent: machine.realtime.cpu_percent },
            memory: MemoryCheck { status: ram.into(), usage_percent: memory.0, available_mb: memory.1 },
            disk: DiskCheck { status: disk.into(), usage_percent: disk_used, free_gb },
            job_queue: QueueCheck {
                status: queue.into(),
                current: stats.queued as u64,
                max: stats.queue_limit as u64,
                usage_percent: queue_used,
            },
            active_jobs: ActiveCheck {
                status: "healthy".into(),
                count: stats.active as u64,
                max_concurrent: stats.limit as u64,
            },
        },
        timestamp: unix(),
    };
    (code, Json(answer))
}

/// The contract's words for how much is in use of the CPU, the memory, the disk and the queue (percent), and for the whole.
fn judged([cpu, ram, disk, queue]: [f64; 4]) -> ([&'static str; 4], &'static str) {
    let level = |value: f64, degraded: f64, unhealthy: f64| match value {
        v if v >= unhealthy => "unhealthy",
        v if v >= degraded => "degraded",
        _ => "healthy",
    };
    let (cpu, ram, disk) = (level(cpu, 90.0, 95.0), level(ram, 85.0, 95.0), level(disk, 85.0, 95.0));
    // A long queue alone is bad only when it is nearly full.
    let overall = [cpu, ram, disk, level(queue, 95.0, f64::INFINITY)];
    let status = ["unhealthy", "degraded"].into_iter().find(|s| overall.contains(s)).unwrap_or("healthy");
    ([cpu, ram, disk, level(queue, 80.0, f64::INFINITY)], status)
}

/// `GET /api/ready`: 503 when a job would not be taken.
pub async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Ready>) {
    let stats = app.jobs.stats();
    let full = stats.queued >= stats.queue_limit;
    let answer = Ready { ready: !full, reason: full.then(|| "Queue full".into()) };
    (if full { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, Json(answer))
}

/// `GET /api/live`.
pub async fn live() -> Json<Live> {
    Json(Live { alive: true, timestamp: unix() })
}

/// `GET /api/capabilities`; waits for the first look at the machine, which takes some seconds.
pub async fn capabilities(State(app): State<Arc<App>>) -> Answer<Json<Capabilities>> {
    let mut watch = app.devices.clone();
    let known = tokio::time::timeout(Duration::from_secs(60), watch.wait_for(Option::is_some)).await;
    let devices = match known {
        Ok(Ok(devices)) => devices.clone(),
        _ => None,
    };
    let Some(devices) = devices else {
        let fail = Fail::new(StatusCode::SERVICE_UNAVAILABLE, "The encoders are still being tried");
        return Err(fail.retry_after(Duration::from_secs(10)));
    };
    let (video_codecs, mut audio_codecs) = codecs(&devices);
    audio_codecs.push("copy".into());
    Ok(Json(Capabilities {
        hw_accels: ACCELS.iter().map(|kind| accel(kind, &devices)).collect(),
        video_codecs,
        audio_codecs,
        formats: ["hls", "dash", "mp4", "webm", "mkv"].map(String::from).to_vec(),
        max_concurrent_jobs: app.jobs.stats().limit as u64,
        ffmpeg_version: devices.ffmpeg.version.clone(),
        platform: platform(),
    }))
}

/// Video and audio codecs that can be made, by the names that requests use.
pub fn codecs(devices: &Devices) -> (Vec<String>, Vec<String>) {
    let usable = |codec: &str, kind: &str| {
        devices.encoders.iter().any(|e| e.usable && e.kind == kind && e.codec == codec)
    };
    let videos = [("h264", "h264"), ("h265", "hevc"), ("vp9", "vp9"), ("av1", "av1")];
    let audios = ["aac", "opus", "mp3", "flac", "ac3", "eac3"];
    (
        videos.iter().filter(|(_, codec)| usable(codec, "video")).map(|(name, _)| name.to_string()).collect(),
        audios.iter().filter(|codec| usable(codec, "audio")).map(|name| name.to_string()).collect(),
    )
}

/// Kinds of encoders that work, best first, `software` last.
pub fn available(devices: &Devices) -> Vec<String> {
    ACCELS.iter().map(|kind| accel(kind, devices)).filter(|a| a.available).map(|a| a.kind).collect()
}

fn accel(kind: &str, devices: &Devices) -> Accel {
    let video = devices.encoders.iter().filter(|e| e.usable && e.kind == "video" && e.device == kind);
    let encoders: Vec<String> = video.map(|e| e.name.clone()).collect();
    let suffix = match kind {
        "nvenc" => "_cuvid",
        "qsv" => "_qsv",
        "amf" => "_amf",
        _ => "",
    };
    let all = devices.decoders.iter().flat_map(|d| &d.decoders);
    let decoders: Vec<String> = match (kind, encoders.is_empty()) {
        ("software", _) => ["h264", "hevc", "vp9", "av1"]
            .iter()
            .filter(|codec| devices.decoders.iter().any(|d| d.codec == **codec))
            .map(|codec| codec.to_string())
            .collect(),
        (_, true) => Vec::new(),
        _ if suffix.is_empty() => Vec::new(),
        _ => all.filter(|name| name.ends_with(suffix)).cloned().collect(),
    };
    let drivers: &[&str] = match kind {
        "nvenc" => &["nvidia"],
        "qsv" => &["i915", "xe"],
        "amf" => &["amdgpu"],
        "vaapi" => &["amdgpu", "radeon", "i915", "xe"],
        _ => &[],
    };
    let nvidia = devices.nvidia.iter().find(|n| kind == "nvenc" && n.reason.is_none());
    let gpu =
        devices.gpus.iter().find(|g| drivers.contains(&g.driver.as_str())).filter(|_| !encoders.is_empty());
    Accel {
        kind: kind.into(),
        available: !encoders.is_empty(),
        // NVIDIA's driver knows its cards also where the kernel shows no render node of theirs, as in containers.
        gpu_info: nvidia.map(|n| &n.name).or(gpu.map(|g| &g.name)).map(|name| GpuInfo {
            name: name.clone(),
            memory_mb: nvidia.map(|n| n.memory >> 20),
            driver_version: nvidia.and_then(|n| n.driver.clone()),
            cuda_version: nvidia.and_then(|n| n.cuda.clone()),
        }),
        device_path: gpu.map(|g| g.path.clone()).filter(|p| p.starts_with("/dev/")),
        encoders,
        decoders,
    }
}

/// `GET /api/stats`.
pub async fn stats(State(app): State<Arc<App>>) -> Json<Stats> {
    let stats = app.jobs.stats();
    Json(Stats {
        total_jobs_processed: stats.processed,
        successful_jobs: stats.successful,
        failed_jobs: stats.failed,
        cancelled_jobs: stats.cancelled,
        current_queue_length: stats.queued as u64,
        active_jobs: stats.active as u64,
        average_transcode_speed: stats.average_seconds,
        total_bytes_processed: stats.bytes,
        uptime_seconds: app.started.elapsed().as_secs_f64(),
        hw_accel_usage: app.jobs.usage(),
    })
}

/// `GET /api/status`.
pub async fn status(State(app): State<Arc<App>>) -> Json<Status> {
    let mut status = app.machine.borrow().clone();
    let stats = app.jobs.stats();
    status.hardware.cooling_down = app.jobs.off();
    status.hardware.decoders_cooling_down = app.jobs.decoders_off();
    status.jobs.active_jobs = stats.active as u64;
    status.jobs.queued_jobs = stats.queued as u64;
    status.jobs.max_concurrent_jobs = stats.limit as u64;
    let mut last: Vec<_> = app.jobs.list().into_iter().filter(|j| j.status.is_over()).collect();
    last.sort_by_key(|j| std::cmp::Reverse(j.completed_at));
    let last: Vec<_> = last.into_iter().filter(|j| j.status != jobs::Status::Cancelled).take(50).collect();
    let good = last.iter().filter(|j| j.status == jobs::Status::Ready).count();
    status.jobs.recent_success_rate = if last.is_empty() { 1.0 } else { good as f64 / last.len() as f64 };
    Json(status)
}

/// `GET /api/clients`.
pub async fn clients(State(app): State<Arc<App>>) -> Json<Vec<ClientLine>> {
    let mut lines = app.hub.clients();
    lines.extend(app.presence.lines());
    let active = app.jobs.list().into_iter().filter(|j| !j.status.is_over());
    lines.extend(active.map(|job| ClientLine {
        client: job.mode.into(),
        id: job.id,
        transport: "job".into(),
    }));
    Json(lines)
}

/// `GET /api/logs`: the last lines, or those after `?after=`.
pub async fn logs(uri: Uri) -> Answer<Json<Vec<Line>>> {
    let after = match query::get(uri.query(), "after") {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Fail::fields(&[FieldError {
                kind: "int_parsing",
                loc: vec!["query".into(), "after".into()],
                msg: "Input should be a valid integer, unable to parse string as an integer".into(),
                input: text.into(),
                ctx: None,
            }])
        })?,
    };
    Ok(Json(crate::logs::after(after)))
}

/// `GET /api/cleanup/stats`.
pub async fn cleanup_stats(State(app): State<Arc<App>>) -> Json<CleanupStats> {
    let stats = app.jobs.cleanup_stats();
    Json(CleanupStats {
        total_jobs: stats.total_jobs as u64,
        active_jobs: stats.active_jobs as u64,
        ready_jobs: stats.ready_jobs as u64,
        cleaned_jobs: stats.cleaned_jobs as u64,
        nearly_stale: stats.nearly_stale as u64,
        temp_dir: stats.temp_dir.display().to_string(),
    })
}

/// `POST /api/cleanup/run`.
pub async fn cleanup_run(State(app): State<Arc<App>>) -> Json<CleanupResult> {
    let cleaned = app.jobs.run_cleanup().await;
    Json(CleanupResult {
        stale_jobs_cleaned: cleaned.stale_jobs as u64,
        orphaned_dirs_cleaned: cleaned.orphaned_directories as u64,
    })
}

/// `GET /api/streams/shared`.
pub async fn shared(State(app): State<Arc<App>>) -> Json<SharedStreams> {
    let shared = app.jobs.shared();
    let mut streams = BTreeMap::new();
    for stream in &shared.streams {
        let key: String = stream.source.chars().take(50).collect();
        streams.insert(
            key,
            SharedStream {
                job_id: stream.job.clone(),
                viewers: u64::from(stream.viewers),
                status: stream.status,
                progress: stream.progress,
            },
        );
    }
    Json(SharedStreams {
        active_shared_streams: shared.streams.len() as u64,
        total_viewers: shared.streams.iter().map(|s| u64::from(s.viewers)).sum(),
        viewer_sessions: shared.sessions as u64,
        streams,
    })
}

/// `Linux 6.1.0`.
pub fn platform() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = match std::env::consts::OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        "windows" => "Windows",
        other => other,
    };
    format!("{system} {}", release.trim()).trim_end().into()
}

pub fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Main memory in use (percent) and available (MB).
fn machine_memory() -> (f64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| -> Option<f64> {
        let line = text.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().split(' ').next()?.parse().ok()
    };
    match (field("MemTotal:"), field("MemAvailable:")) {
        (Some(total), Some(free)) if total > 0.0 => ((1.0 - free / total) * 100.0, (free / 1024.0) as u64),
        _ => (0.0, 0),
    }
}

/// The jobs' disk: in use (percent) and free (GB).
fn disk(path: &std::path::Path) -> (f64, f64) {
    // The directory is made with the first job.
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(std::path::Path::new("."));
    match ghoststream::disk::space(there) {
        Ok(s) if s.total > 0 => ((1.0 - s.free as f64 / s.total as f64) * 100.0, s.free as f64 / 1e9),
        _ => (0.0, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_judged_by_the_contracts_limits() {
        const GOOD: &str = "healthy";
        for (used, words, whole) in [
            ([89.9, 84.9, 84.9, 79.9], [GOOD; 4], GOOD),
            ([90.0, 0.0, 0.0, 0.0], ["degraded", GOOD, GOOD, GOOD], "degraded"),
            ([0.0, 85.0, 0.0, 0.0], [GOOD, "degraded", GOOD, GOOD], "degraded"),
            ([0.0, 0.0, 85.0, 0.0], [GOOD, GOOD, "degraded", GOOD], "degraded"),
            ([0.0, 0.0, 0.0, 80.0], [GOOD, GOOD, GOOD, "degraded"], GOOD),
            ([0.0, 0.0, 0.0, 95.0], [GOOD, GOOD, GOOD, "degraded"], "degraded"),
            ([95.0, 85.0, 0.0, 100.0], ["unhealthy", "degraded", GOOD, "degraded"], "unhealthy"),
            ([0.0, 95.0, 0.0, 0.0], [GOOD, "unhealthy", GOOD, GOOD], "unhealthy"),
            ([0.0, 0.0, 95.0, 0.0], [GOOD, GOOD, "unhealthy", GOOD], "unhealthy"),
        ] {
            assert_eq!(judged(used), (words, whole), "{used:?}");
        }
    }
}
