//! Who may come in: decided from what is in memory, on libsrt's receiving thread, before there is a connection.

use super::stream_id::{Misunderstood, Wanted};
use crate::live::keys::Keys;
use crate::live::registry::{Live, Refused, check_name};
use ghoststream::srt::{Caller, Decision, Refusal};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a caller that was let in may take to come.
const COMES: Duration = Duration::from_secs(4);

/// Why a caller is refused: for it, and for the log.
type No = (Refusal, String);

/// The door of a listener.
#[derive(Debug)]
pub(super) struct Door {
    live: Live,
    keys: Keys,
    /// Connections at once.
    most: usize,
    /// Whether there is a passphrase, for the log.
    locked: bool,
    /// Connections that there are.
    open: AtomicUsize,
    /// Callers that were let in and have not come yet.
    expected: Mutex<Vec<(SocketAddr, Instant)>>,
}

impl Door {
    pub fn new(live: Live, keys: Keys, most: usize, locked: bool) -> Door {
        Door { live, keys, most, locked, open: AtomicUsize::new(0), expected: Mutex::default() }
    }

    /// Decides about a caller.
    pub fn decide(&self, caller: &Caller) -> Decision {
        match self.judge(caller) {
            Ok(_) => {
                let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
                // It asks again when the answer is lost.
                expected.retain(|(peer, _)| *peer != caller.peer);
                expected.push((caller.peer, Instant::now()));
                Decision::Accept
            }
            Err((refusal, why)) => {
                tracing::warn!(peer = %caller.peer, code = refusal as i32, "SRT connection refused: {why}");
                Decision::Refuse(refusal)
            }
        }
    }

    fn judge(&self, caller: &Caller) -> Result<Wanted, No> {
        let expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner).len();
        if self.open.load(Ordering::Relaxed) + expected >= self.most {
            return Err((Refusal::Overload, format!("there are {} connections", self.most)));
        }
        let wanted = Wanted::parse(&caller.stream_id).map_err(|e| match e {
            Misunderstood::Id(why) => (Refusal::BadRequest, why),
            Misunderstood::Mode(why) => (Refusal::BadMode, why),
        })?;
        let name = &wanted.name;
        check_name(name).map_err(|why| (Refusal::BadRequest, why))?;
        let key = wanted.key.as_deref();
        if wanted.publishes {
            if !self.keys.may_publish(name, key) {
                return Err((Refusal::Unauthorized, format!("{name}: a key is needed to publish")));
            }
            self.live.may_publish(name, super::PROTOCOL).map_err(|refused| match refused {
                Refused::Name(why) => (Refusal::BadRequest, why),
                Refused::Taken => (Refusal::Conflict, format!("{name}: {refused}")),
                Refused::Full(_) => (Refusal::Overload, format!("{name}: {refused}")),
            })?;
        } else {
            if !self.keys.may_read(name, key) {
                return Err((Refusal::Unauthorized, format!("{name}: a key is needed to read")));
            }
            if self.live.get(name).is_none() {
                return Err((Refusal::NotFound, format!("there is no stream {name}")));
            }
        }
        Ok(wanted)
    }

    /// A caller has come; says no more than that of its passphrase.
    pub fn came(&self, peer: SocketAddr) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.expected.lock().unwrap_or_else(PoisonError::into_inner).retain(|(p, _)| *p != peer);
    }

    /// A connection is over.
    pub fn left(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Tells of callers that were let in and did not come: libsrt turns away who has another passphrase without a word.
    pub fn sweep(&self) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        expected.retain(|(peer, since)| {
            let waits = since.elapsed() < COMES;
            if !waits {
                let passphrase = match self.locked {
                    true => "its passphrase is missing or wrong",
                    false => "it has a passphrase, and there is none here",
                };
                tracing::warn!(%peer, "SRT connection not made: {passphrase}, or it gave up");
            }
            waits
        });
    }
}
