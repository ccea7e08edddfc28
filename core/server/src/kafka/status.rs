//! What is told of streams: their states as they change, their figures from time to time.

use super::client::{Sender, Shared};
use super::message::Status;
use super::service::Kept;
use crate::live::LiveService;
use crate::live::streams::StreamState;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often it is looked for changes.
const LOOK: Duration = Duration::from_millis(200);
/// How often streams are told that somebody cares for them.
const CARE: Duration = Duration::from_secs(1);
/// How long the last messages may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// A state as the service wrote it.
pub(super) fn word(state: StreamState) -> &'static str {
    match state {
        StreamState::Stopped => "stopped",
        StreamState::Starting => "starting",
        StreamState::Running => "running",
        StreamState::Reconnecting => "reconnecting",
        StreamState::Error => "error",
    }
}

/// To the status topic, some time.
pub(super) fn send(shared: &Shared, sender: &Sender, status: &Status) {
    let body = serde_json::to_vec(status).unwrap_or_default();
    sender.send(&shared.settings.status_topic, status.stream_id.as_bytes(), &body);
}

/// What tells it.
pub(super) struct Teller {
    pub shared: Arc<Shared>,
    pub sender: Arc<Sender>,
    pub live: LiveService,
    pub kept: Kept,
    pub ending: watch::Receiver<bool>,
}

impl Teller {
    /// Until the end. Blocks.
    pub fn run(self) {
        let mut told: BTreeMap<String, (StreamState, Option<String>)> = BTreeMap::new();
        let interval = Duration::from_secs_f64(self.shared.settings.metrics_interval);
        let (mut cared, mut figures) = (Instant::now(), Instant::now());
        let mut connections = self.shared.connections.load(Ordering::SeqCst);
        while !*self.ending.borrow() {
            std::thread::sleep(LOOK);
            let now = self.shared.connections.load(Ordering::SeqCst);
            let anew = now != std::mem::replace(&mut connections, now);
            self.changes(&mut told, anew);
            if cared.elapsed() >= CARE {
                cared = Instant::now();
                self.kept.care(self.live.managed());
            }
            if !interval.is_zero() && figures.elapsed() >= interval {
                figures = Instant::now();
                self.figures();
            }
        }
        for (id, _) in told.iter().filter(|(_, (state, _))| *state != StreamState::Stopped) {
            self.tell(id, "stopped", "state", Some("the server ends"));
        }
        self.sender.flush(FAREWELL);
    }

    fn tell(&self, id: &str, state: &str, event: &str, error: Option<&str>) {
        send(
            &self.shared,
            &self.sender,
            &Status::new(&self.shared.node, id, state, event).with("error", error),
        );
    }

    /// Tells what changed since `told`, or everything.
    fn changes(&self, told: &mut BTreeMap<String, (StreamState, Option<String>)>, anew: bool) {
        let mut gone = std::mem::take(told);
        for view in self.live.managed().list() {
            let id = view.request.id;
            let state = (view.state, view.error);
            let event = match gone.remove(&id) {
                Some(before) if before == state => anew.then_some("snapshot"),
                // What was only asked for did not change.
                None if state.0 == StreamState::Stopped => anew.then_some("snapshot"),
                _ => Some("state"),
            };
            if let Some(event) = event {
                self.tell(&id, word(state.0), event, state.1.as_deref());
            }
            told.insert(id, state);
        }
        for (id, _) in gone.iter().filter(|(_, (state, _))| *state != StreamState::Stopped) {
            // Its new node tells of it.
            if self.kept.has_moved(id) {
                continue;
            }
            self.tell(id, "stopped", "state", None);
        }
    }

    /// Tells the figures of streams that run.
    fn figures(&self) {
        for view in self.live.managed().list().into_iter().filter(|v| v.state == StreamState::Running) {
            let id = view.request.id;
            let Some(stats) = self.live.streams().get(&id).map(|s| s.stats()) else { continue };
            let mut status = Status::new(&self.shared.node, &id, "running", "metrics")
                .with("uptime", view.uptime.map(|u| format!("{:.3}", u.as_secs_f64())))
                .with("readers", Some(stats.readers))
                .with("dropped", Some(stats.dropped))
                .with("clock_jumps", Some(stats.jumps));
            for track in &stats.tracks {
                let kind = track.kind;
                status = status
                    .with(&format!("{kind}_codec"), Some(&track.codec))
                    .with(&format!("{kind}_bitrate"), Some(format!("{:.0}", track.bitrate)))
                    .with(&format!("{kind}_rate"), Some(format!("{:.2}", track.rate)))
                    .with(&format!("{kind}_bytes"), Some(track.bytes));
            }
            send(&self.shared, &self.sender, &status);
        }
    }
}
