//! Calls to whoever wants to know that something has happened (a job is over, a stream begins): signed, tried again, and
//! only where the policy allows.

use crate::policy::SourcePolicy;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::time::Duration;

/// How often a call is tried.
const TRIES: u32 = 5;
/// Seconds before the second try; doubled for each further one.
const DELAY: u64 = 2;
/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A call to make.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub url: String,
    /// What it is about: a header (`X-GhostStream-Job`), and its value.
    pub about: (&'static str, String),
    /// The event's name: `ready`, `error` or `cancelled`, of jobs.
    pub event: &'static str,
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

/// Makes the call; gives up after a few tries, and at once when the answer says that it is not wanted.
pub(crate) async fn call(call: Call, policy: std::sync::Arc<SourcePolicy>) {
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_secs(DELAY << (attempt - 1))).await;
        }
        let (this, policy) = (call.clone(), policy.clone());
        let result = tokio::task::spawn_blocking(move || once(&this, &policy, PATIENCE)).await;
        match result {
            Ok(Ok(())) => return,
            Ok(Err((again, why))) => {
                tracing::warn!(about = call.about.1, attempt = attempt + 1, "callback: {why}");
                if !again {
                    return;
                }
            }
            Err(e) => tracing::error!(about = call.about.1, error = %e, "callback"),
        }
    }
}

/// One try, which blocks for `patience` at most. The error says whether another one makes sense.
pub(crate) fn once(
    call: &Call,
    policy: &std::sync::Arc<SourcePolicy>,
    patience: Duration,
) -> Result<(), (bool, String)> {
    // The name may lead elsewhere by now.
    policy.check_callback(&call.url).map_err(|e| (false, e.0))?;
    let agent = crate::outgoing::agent(policy, patience);
    let timestamp = super::record::now() as u64;
    let mut request = agent
        .post(&call.url)
        .header("Content-Type", "application/json")
        .header("X-GhostStream-Event", call.event)
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
    use super::*;

    #[test]
    fn the_signature_is_that_of_everybody_else() {
        let ours = signature("secret", 1_700_000_000, "{}").unwrap();
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        assert_eq!(ours, "sha256=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163");
        assert_ne!(ours, signature("secret", 1_700_000_001, "{}").unwrap());
    }
}
