//! Watches the machine while the server runs: snapshots become decisions, decisions become limits and `/api/status`.

use crate::adapt::{self, GpuLoad, GpuSource, Hardware, JobsLoad, Monitor, Snapshot};
use crate::contract::event;
use crate::contract::service::{HardwareStatus, JobsStatus, RealtimeStatus, Status};
use crate::http::App;
use crate::jobs::{Bounds, Jobs, Offer, Relief};
use crate::serve::ended;
use ghoststream::device::{Devices, NvidiaUsage, nvidia_usage};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two snapshots.
const EVERY: Duration = Duration::from_secs(2);

/// Looks and decides until the server ends; what it finds out is in `told`.
pub async fn watch(app: Arc<App>, told: watch::Sender<Status>) {
    let (jobs, mut ending) = (app.jobs.clone(), app.ending.clone());
    let mut monitor = Monitor::new(Path::new("/"), Some(Box::new(Nvidia)));
    let mut state = adapt::State::default();
    let mut known = None;
    let read = || Hardware::read(Path::new("/"));
    let Ok(basic) = tokio::task::spawn_blocking(read).await else { return };
    let mut beat = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = ended(&mut ending) => return,
        }
        let hardware = with_devices(&basic, app.devices.borrow().as_deref());
        let load = load(&jobs);
        // A GPU may take its time to answer.
        let task = tokio::task::spawn_blocking(move || {
            let snapshot = monitor.snapshot(load);
            (monitor, snapshot)
        });
        let Ok((back, snapshot)) = task.await else { return };
        monitor = back;
        let config = app.settings();
        let most = config.config.transcoding.max_concurrent_jobs;
        let settings = adapt::Settings {
            max_jobs: u32::try_from(most).unwrap_or(u32::MAX),
            tier: config.config.hardware.tier.fixed(),
            unyielding: !config.config.hardware.adapt,
        };
        let (next, decision) = adapt::decide(&hardware, &settings, &state, &snapshot);
        state = next;
        // Figures in the reasons change all the time.
        let substance =
            (decision.pressure, decision.max_jobs, decision.quality_factor, decision.reasons.len());
        let before = known.replace(substance);
        let changed = before.map_or(!decision.reasons.is_empty(), |before| before != substance);
        if changed {
            tracing::info!(
                max_jobs = decision.max_jobs,
                quality = decision.quality_factor,
                "adaptation: {}",
                if decision.reasons.is_empty() {
                    "as the hardware is".into()
                } else {
                    decision.reasons.join("; ")
                }
            );
        }
        jobs.set_limit(decision.max_jobs as usize);
        // A tier's sizes are what a ladder is offered on its own; what a request asks for is its own affair. How many rungs
        // there are is left to the settings: on demand only those that are watched cost anything.
        let limits = decision.limits;
        jobs.set_bounds(Bounds {
            quality: decision.quality_factor,
            offer: Some(Offer { size: (limits.max_width, limits.max_height), bitrate: limits.max_bitrate }),
            load: Relief { faster: decision.faster, drop_top: decision.drop_top },
            ..Bounds::default()
        });
        let status = status(&hardware, &snapshot, &decision);
        if changed {
            app.hub.announce(event::adaptation(&status.jobs));
        }
        told.send_replace(status);
    }
}

/// What the engine found out about encoders, added to what the kernel says.
fn with_devices(basic: &Hardware, devices: Option<&Devices>) -> Hardware {
    let mut hardware = basic.clone();
    let Some(devices) = devices else { return hardware };
    let best = ["nvenc", "vaapi", "qsv", "amf", "videotoolbox"]
        .into_iter()
        .find_map(|kind| devices.encoders.iter().find(|e| e.usable && e.device == kind && e.codec == "h264"));
    if let Some(best) = best {
        hardware.encoder = Some(best.name.clone());
        hardware.gpu_name = devices.gpus.first().map(|g| g.name.clone());
        if let Some(gpu) = devices.nvidia.iter().find(|_| best.device == "nvenc") {
            hardware.gpu_name = Some(gpu.name.clone());
            hardware.gpu_memory_mb = Some(gpu.memory >> 20);
        }
    }
    hardware
}

/// NVIDIA's GPUs. Of several, the worst value of each kind counts.
struct Nvidia;

impl GpuSource for Nvidia {
    fn read(&mut self) -> Option<GpuLoad> {
        let worst = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        nvidia_usage().into_iter().map(gpu_load).reduce(|a, b| GpuLoad {
            percent: worst(a.percent, b.percent),
            encoder_percent: worst(a.encoder_percent, b.encoder_percent),
            memory_percent: worst(a.memory_percent, b.memory_percent),
            temperature_c: worst(a.temperature_c, b.temperature_c),
            power_w: worst(a.power_w, b.power_w),
        })
    }
}

fn gpu_load(usage: NvidiaUsage) -> GpuLoad {
    let memory = usage.memory_used.zip(usage.memory_total.filter(|total| *total > 0));
    GpuLoad {
        percent: usage.gpu.map(f64::from),
        encoder_percent: usage.encoder.map(f64::from),
        memory_percent: memory.map(|(used, total)| used as f64 / total as f64 * 100.0),
        temperature_c: usage.temperature.map(f64::from),
        power_w: usage.power.map(|milliwatts| f64::from(milliwatts) / 1000.0),
    }
}

fn load(jobs: &Jobs) -> JobsLoad {
    let running = jobs.list().into_iter().filter(|j| j.encoding);
    let mut load = JobsLoad::default();
    for job in running {
        load.active += 1;
        // Nobody watches a file while it is made, and a job without frames has no speed yet.
        if job.mode != "batch" && job.speed > 0.0 && job.viewers > 0 {
            load.slowest_speed = Some(load.slowest_speed.map_or(job.speed, |s: f64| s.min(job.speed)));
        }
    }
    load
}

fn status(hardware: &Hardware, snapshot: &Snapshot, decision: &adapt::Decision) -> Status {
    Status {
        hardware: HardwareStatus {
            tier: decision.tier.name().into(),
            gpu_name: hardware.gpu_name.clone(),
            gpu_vram_mb: hardware.gpu_memory_mb,
            is_laptop: hardware.laptop,
            power_source: word(snapshot.power),
            max_resolution: [decision.limits.max_width, decision.limits.max_height],
            recommended_encoder: hardware.encoder.clone().unwrap_or_else(|| "libx264".into()),
            ..HardwareStatus::default()
        },
        realtime: RealtimeStatus {
            cpu_percent: snapshot.cpu_percent,
            memory_percent: snapshot.memory_percent,
            gpu_percent: snapshot.gpu.and_then(|g| g.percent),
            gpu_temperature_c: snapshot.gpu.and_then(|g| g.temperature_c),
            load_factor: decision.load_factor,
            is_overloaded: decision.is_overloaded,
            load_trend: word(decision.trend),
        },
        jobs: JobsStatus {
            max_concurrent_jobs: u64::from(decision.max_jobs),
            quality_factor: decision.quality_factor,
            recent_success_rate: 1.0,
            pressure: decision.pressure,
            reasons: decision.reasons.clone(),
            ..JobsStatus::default()
        },
    }
}

/// A word as it is serialized.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(Into::into)).unwrap_or_default()
}
