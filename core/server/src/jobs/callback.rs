//! Calls to whoever wants to know that something has happened (a job is over, a stream begins): signed, tried again, and
//! only where the policy allows. Those of jobs are kept in the database until they are made or given up, so that they outlive
//! the server: whoever is called hears of everything at least once.

use super::store::Store;
use crate::policy::SourcePolicy;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How often a call about a stream is tried, and one about a job.
const TRIES: u32 = 5;
const JOB_TRIES: u32 = 8;
/// Seconds before the second try; doubled for each further one.
const DELAY: u64 = 2;
/// Tries about jobs that are under way at once: after a restart many calls may be open.
pub(super) const AT_ONCE: usize = 16;
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A call to make.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The same for each try, and after a restart: who hears of something twice knows it by that.
    pub id: String,
    pub url: String,
    /// What it is about: a header (`X-GhostStream-Job`), and its value.
    pub about: (&'static str, String),
    /// The event's name: `ready`, `error` or `cancelled`, of jobs.
    pub event: String,
    /// JSON.
    pub body: String,
    /// Signs the body, when there is one.
    pub secret: Option<String>,
}

/// The signature of a call: `sha256=` and the HMAC-SHA256, in hexadecimal, of the time stamp, a full stop and the body.
pub fn signature(secret: &str, timestamp: u64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
    mac.update(format!("{timestamp}.{body}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    Some(format!("sha256={}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

/// A call about a job that is not made yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub id: String,
    pub job: String,
    pub url: String,
    pub event: String,
    pub body: String,
    /// Tries so far.
    pub tried: u32,
}

/// What kept calls are made with.
#[derive(Clone)]
pub(super) struct Caller {
    pub store: Store,
    pub policy: Arc<SourcePolicy>,
    /// Signs the calls, when there is one.
    pub secret: Option<String>,
    /// A place for each try that may be under way ([`AT_ONCE`] in all).
    pub places: Arc<Semaphore>,
}

/// Makes a kept call. What becomes of it is written down after each try.
pub(super) async fn deliver(mut pending: Pending, by: Caller) {
    let Caller { store, policy, secret, places } = by;
    let call = Call {
        id: pending.id.clone(),
        url: pending.url.clone(),
        about: ("X-GhostStream-Job", pending.job.clone()),
        event: pending.event.clone(),
        body: pending.body.clone(),
        secret,
    };
    loop {
        let again = {
            // Whoever waits for his next try holds nobody up. The places are never closed.
            let _place = places.acquire().await;
            attempt(&call, &policy, pending.tried).await
        };
        pending.tried += 1;
        if !again || pending.tried >= JOB_TRIES {
            if again {
                tracing::warn!(job = pending.job, "callback: given up after {} tries", pending.tried);
            }
            store.called(&pending.id);
            return;
        }
        store.tried(&pending);
        tokio::time::sleep(Duration::from_secs(DELAY << (pending.tried - 1))).await;
    }
}

/// One try; whether another one makes sense.
async fn attempt(call: &Call, policy: &Arc<SourcePolicy>, before: u32) -> bool {
    let (this, policy) = (call.clone(), policy.clone());
    match tokio::task::spawn_blocking(move || once(&this, &policy, PATIENCE)).await {
        Ok(Ok(())) => false,
        Ok(Err((again, why))) => {
            tracing::warn!(about = call.about.1, attempt = before + 1, "callback: {why}");
            again
        }
        Err(e) => {
            tracing::error!(about = call.about.1, error = %e, "callback");
            true
        }
    }
}

/// Makes the call; gives up after a few tries, and at once when the answer says that it is not wanted.
pub(crate) async fn call(call: Call, policy: Arc<SourcePolicy>) {
    for tried in 0..TRIES {
        if tried > 0 {
            tokio::time::sleep(Duration::from_secs(DELAY << (tried - 1))).await;
        }
        if !attempt(&call, &policy, tried).await {
            return;
        }
    }
}

/// One try, which blocks for `patience` at most. The error says whether another one makes sense.
pub(crate) fn once(
    call: &Call,
    policy: &Arc<SourcePolicy>,
    patience: Duration,
) -> Result<(), (bool, String)> {
    // The name may lead elsewhere by now.
    policy.check_callback(&call.url).map_err(|e| (false, e.0))?;
    let agent = crate::outgoing::agent(policy, patience);
    let timestamp = super::record::now() as u64;
    let mut request = agent
        .post(&call.url)
        .header("Content-Type", "application/json")
        .header("X-GhostStream-Event", &call.event)
        .header("X-GhostStream-Delivery", &call.id)
        .header(call.about.0, &call.about.1)
        .header("X-GhostStream-Timestamp", timestamp.to_string());
    if let Some(signature) = call.secret.as_ref().and_then(|s| signature(s, timestamp, &call.body)) {
        request = request.header("X-GhostStream-Signature", signature);
    }
    let answer = request.send(&call.body).map_err(|e| (true, e.to_string()))?;
    match answer.status().as_u16() {
        200..300 => Ok(()),
        code @ (408 | 425 | 429 | 500..600) => Err((true, format!("answered {code}"))),
        code => Err((false, format!("answered {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Jobs, database};
    use super::*;
    use crate::config::Config;
    use std::io::{Read, Write};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_of_before_a_restart_are_not_made_all_at_once() {
        const CALLS: usize = 3 * AT_ONCE;
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.transcoding.temp_directory = dir.path().join("jobs");
        config.transcoding.worker_command = vec!["true".into()];
        config.transcoding.idle_workers = 0;
        config.security.state_directory = dir.path().join("state");
        std::fs::create_dir_all(dir.path().join("jobs")).unwrap();
        let root = dir.path().join("jobs").canonicalize().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/told", listener.local_addr().unwrap());
        let (store, _) = Store::open(&database(&config, &root)).unwrap();
        let call = |n: usize| Pending {
            id: n.to_string(),
            job: "j".into(),
            url: url.clone(),
            event: "ready".into(),
            body: "{}".into(),
            tried: 0,
        };
        store.keep_calls((0..CALLS).map(call).collect()).await.unwrap();
        store.close().await;
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, top) = (now.clone(), most.clone());
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                top.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (mut stream, count, sender) = (stream.unwrap(), count.clone(), sender.clone());
                std::thread::spawn(move || {
                    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
                    while !text.ends_with(b"{}") {
                        let n = stream.read(&mut buffer).unwrap();
                        text.extend_from_slice(&buffer[..n]);
                    }
                    // Others that are under way are here by then.
                    std::thread::sleep(Duration::from_millis(400));
                    count.fetch_sub(1, Ordering::SeqCst);
                    let answer = "HTTP/1.1 204 Thanks\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    stream.write_all(answer.as_bytes()).unwrap();
                    sender.send(()).unwrap();
                });
            }
        });
        let jobs = Jobs::open(&config).unwrap();
        for _ in 0..CALLS {
            tokio::time::timeout(Duration::from_secs(60), told.recv()).await.unwrap().unwrap();
        }
        let most = most.load(Ordering::SeqCst);
        assert!((2..=AT_ONCE).contains(&most), "{most} at once");
        jobs.close().await;
    }

    #[test]
    fn the_signature_is_that_of_everybody_else() {
        let ours = signature("secret", 1_700_000_000, "{}").unwrap();
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(ours, "sha256=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163");
        assert_ne!(ours, signature("secret", 1_700_000_001, "{}").unwrap());
    }
}
