//! Who is connected: WebSockets by the name they gave, HTTP clients that name themselves, and who has a job.

use crate::contract::service::ClientLine;
use axum::http::HeaderMap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An HTTP client that was silent for longer is gone.
const REMEMBERED: Duration = Duration::from_secs(60);
/// HTTP clients that are remembered.
const MOST: usize = 1000;
/// Headers in which clients name themselves, the usual one first.
const NAMES: [&str; 4] =
    ["x-ghoststream-client", "x-ghoststream-client-name", "x-client-name", "x-client-id"];

#[derive(Default)]
pub struct Presence {
    seen: Mutex<HashMap<(IpAddr, String), Instant>>,
}

/// The name that a request gives, unless it belongs to our own tools.
pub fn name(headers: &HeaderMap) -> Option<String> {
    if headers.contains_key("x-ghoststream-internal") {
        return None;
    }
    let named = NAMES.iter().find_map(|h| headers.get(*h)?.to_str().ok());
    let name: String = named?.chars().filter(|c| !c.is_control()).take(64).collect();
    (!name.is_empty()).then_some(name)
}

impl Presence {
    /// A request came.
    pub fn note(&self, client: IpAddr, headers: &HeaderMap) {
        let Some(name) = name(headers) else { return };
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            seen.retain(|_, at| now.duration_since(*at) < REMEMBERED);
            if seen.len() >= MOST {
                return;
            }
        }
        seen.insert((client, name), now);
    }

    /// Who asked lately.
    pub fn lines(&self) -> Vec<ClientLine> {
        let now = Instant::now();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.iter().filter(|(_, at)| now.duration_since(**at) < REMEMBERED);
        let mut lines: Vec<ClientLine> = fresh
            .map(|((address, name), _)| ClientLine {
                id: address.to_string(),
                client: name.clone(),
                transport: "http".into(),
            })
            .collect();
        lines.sort_by(|a, b| (&a.client, &a.id).cmp(&(&b.client, &b.id)));
        lines
    }
}
