//! `/metrics`: jobs, queue, speed, bytes and HTTP, as Prometheus reads it.

use super::App;
use crate::jobs::Status;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the latency histogram, in seconds. A held playlist may take 30.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0];

/// Counters of the HTTP surface.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    latency: Mutex<BTreeMap<String, Latency>>,
    bytes: AtomicU64,
}

#[derive(Default)]
struct Latency {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

impl Metrics {
    /// A request was answered. `route` is the pattern, never the path.
    pub fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = match *method {
            Method::GET | Method::HEAD | Method::POST | Method::DELETE | Method::OPTIONS => method.as_str(),
            // A client may invent methods, but not time series.
            _ => "other",
        };
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((method.into(), route.into(), status.as_u16())).or_default() += 1;
        drop(requests);
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        if !latency.contains_key(route) {
            latency.insert(route.into(), Latency::default());
        }
        if let Some(latency) = latency.get_mut(route) {
            let seconds = took.as_secs_f64();
            latency.count += 1;
            latency.sum += seconds;
            for (bucket, bound) in latency.buckets.iter_mut().zip(BOUNDS) {
                *bucket += u64::from(seconds <= bound);
            }
        }
    }

    /// Media bytes are on their way.
    pub fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The text format, one metric after the other.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = write!(self.0, "# HELP ghoststream_{name} {help}\n# TYPE ghoststream_{name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "ghoststream_{name} {value}"),
            false => writeln!(self.0, "ghoststream_{name}{{{labels}}} {value}"),
        };
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }
}

/// `GET /metrics`.
pub async fn show(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&app))
}

fn render(app: &App) -> String {
    let mut page = Page(String::with_capacity(8192));
    let stats = app.jobs.stats();
    let jobs = app.jobs.list();
    page.one("uptime_seconds", "gauge", "Since the server started.", app.started.elapsed().as_secs_f64());
    page.head("jobs", "gauge", "Jobs that are remembered, by status.");
    for status in [Status::Queued, Status::Processing, Status::Ready, Status::Error, Status::Cancelled] {
        let count = jobs.iter().filter(|j| j.status == status).count();
        page.line("jobs", &format!("status=\"{status}\""), count);
    }
    page.head("jobs_finished_total", "counter", "Jobs that came to an end.");
    for (result, count) in
        [("ready", stats.successful), ("error", stats.failed), ("cancelled", stats.cancelled)]
    {
        page.line("jobs_finished_total", &format!("result=\"{result}\""), count);
    }
    page.one("queue_length", "gauge", "Jobs that wait.", stats.queued);
    page.one("queue_limit", "gauge", "Jobs that may wait.", stats.queue_limit);
    page.one("active_jobs", "gauge", "Jobs that a worker is at.", stats.active);
    page.one("concurrent_jobs_limit", "gauge", "Jobs that may run at once now.", stats.limit);
    page.one("job_seconds_mean", "gauge", "Mean wall time of a successful job.", stats.average_seconds);
    page.one("media_written_bytes_total", "counter", "Bytes that jobs wrote.", stats.bytes);
    let running: Vec<_> = jobs.iter().filter(|j| j.status == Status::Processing).collect();
    page.head("encoder_sessions", "gauge", "Jobs that are encoded just now, by kind of encoder.");
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for job in jobs.iter().filter(|j| j.encoding) {
        *kinds.entry(job.hw_accel_used.as_deref().unwrap_or("unknown")).or_default() += 1;
    }
    for (kind, count) in kinds {
        page.line("encoder_sessions", &format!("kind=\"{}\"", escaped(kind)), count);
    }
    page.head(
        "encoder_cooldown_seconds",
        "gauge",
        "How long kinds of encoders that kept failing are left alone.",
    );
    for (kind, left) in app.jobs.off() {
        page.line("encoder_cooldown_seconds", &format!("kind=\"{}\"", escaped(&kind)), left);
    }
    page.head(
        "decoder_cooldown_seconds",
        "gauge",
        "How long devices whose decoders kept failing decode nothing.",
    );
    for (device, left) in app.jobs.decoders_off() {
        page.line("decoder_cooldown_seconds", &format!("device=\"{}\"", escaped(&device)), left);
    }
    page.one(
        "encode_fps",
        "gauge",
        "Frames per second of all running jobs.",
        // An empty sum is -0.
        running.iter().map(|j| j.fps).sum::<f64>() + 0.0,
    );
    let slowest = running.iter().map(|j| j.speed).filter(|s| *s > 0.0).reduce(f64::min);
    page.one(
        "slowest_speed",
        "gauge",
        "Media seconds per second of the slowest running job; 0 without one.",
        slowest.unwrap_or(0.0),
    );
    page.one(
        "viewers",
        "gauge",
        "Viewers that joined and did not leave.",
        jobs.iter().map(|j| u64::from(j.viewers)).sum::<u64>(),
    );
    let machine = app.machine.borrow().clone();
    page.one("cpu_percent", "gauge", "Of all processors.", machine.realtime.cpu_percent);
    page.one("load_factor", "gauge", "0 (idle) to 1.", machine.realtime.load_factor);
    page.one(
        "quality_factor",
        "gauge",
        "1 as asked, less when quality is given up for speed.",
        machine.jobs.quality_factor,
    );
    if let Some(percent) = machine.realtime.gpu_percent {
        page.one("gpu_percent", "gauge", "Of the GPU that encodes.", percent);
    }
    let (sockets, dropped) = app.hub.counts();
    page.one("websocket_connections", "gauge", "Open WebSockets.", sockets);
    page.one("websocket_dropped_total", "counter", "Messages that slow WebSocket clients missed.", dropped);
    page.one(
        "http_media_bytes_total",
        "counter",
        "Bytes of segments, playlists and downloads sent.",
        app.metrics.bytes.load(Ordering::Relaxed),
    );
    http(&app.metrics, &mut page);
    if let Some(live) = &app.live {
        page.0.push_str(&live.metrics());
    }
    if let Some(kafka) = &app.kafka {
        page.0.push_str(&kafka.metrics());
    }
    page.0
}

fn http(metrics: &Metrics, page: &mut Page) {
    page.head("http_requests_total", "counter", "Answered requests.");
    for ((method, route, status), count) in
        metrics.requests.lock().unwrap_or_else(PoisonError::into_inner).iter()
    {
        let labels = format!("method=\"{method}\",route=\"{}\",status=\"{status}\"", escaped(route));
        page.line("http_requests_total", &labels, count);
    }
    page.head("http_request_seconds", "histogram", "Time to the answer's head.");
    for (route, latency) in metrics.latency.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let route = escaped(route);
        for (bucket, bound) in latency.buckets.iter().zip(BOUNDS) {
            page.line("http_request_seconds_bucket", &format!("route=\"{route}\",le=\"{bound}\""), bucket);
        }
        page.line("http_request_seconds_bucket", &format!("route=\"{route}\",le=\"+Inf\""), latency.count);
        page.line("http_request_seconds_sum", &format!("route=\"{route}\""), latency.sum);
        page.line("http_request_seconds_count", &format!("route=\"{route}\""), latency.count);
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
