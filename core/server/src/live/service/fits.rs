//! What is made of streams for their WebRTC viewers, for as long as somebody wants it.

use super::lock;
use crate::live::stream::Stream;
use crate::live::transcode::{Transcode, TranscodeSpec};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// How long what is made for WebRTC viewers goes on without one.
const IDLE: Duration = Duration::from_secs(30);
/// How long what could not be begun for them is not tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What something is made of a stream for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum For {
    /// WebRTC viewers, who cannot play it as it is.
    Browsers,
    /// Those of them whose way is too narrow for it.
    Narrow,
}

/// All that is made so, by the stream's name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Fits {
    all: Arc<Mutex<HashMap<(String, For), Fitted>>>,
}

/// What is made of a stream.
#[derive(Debug)]
struct Fitted {
    of: Weak<Stream>,
    /// `None` where it could not begin.
    transcode: Option<Transcode>,
    /// When it was wanted last, or when it could not begin.
    wanted: Instant,
}

impl Fitted {
    fn is_read(&self) -> bool {
        self.transcode.as_ref().is_some_and(|t| t.stream().readers() > 0)
    }
}

impl Fits {
    /// What is made of `stream`, begun as `spec` says where it is not there yet.
    pub(super) fn of(
        &self,
        stream: &Arc<Stream>,
        whom: For,
        spec: impl FnOnce() -> TranscodeSpec,
    ) -> Option<Arc<Stream>> {
        let mut all = lock(&self.all);
        let key = (stream.name().to_string(), whom);
        if let Some(there) = all.get_mut(&key)
            && std::ptr::eq(there.of.as_ptr(), Arc::as_ptr(stream))
        {
            match &there.transcode {
                Some(transcode) => {
                    there.wanted = Instant::now();
                    return Some(transcode.stream().clone());
                }
                None if there.wanted.elapsed() < RETRY => return None,
                None => {}
            }
        }
        let failed = |e: &ghoststream::Error| {
            tracing::error!(stream = stream.name(), "cannot be made for WebRTC: {}", e.message());
        };
        let transcode = Transcode::start(stream, &spec()).inspect_err(failed).ok();
        let made = transcode.as_ref().map(|t| t.stream().clone());
        let fitted = Fitted { of: Arc::downgrade(stream), transcode, wanted: Instant::now() };
        let before = all.insert(key, fitted);
        // Its thread is waited for.
        std::thread::spawn(move || drop(before));
        made
    }

    /// Takes out what is made of streams that are `gone`, or for nobody since [`IDLE`].
    pub(super) fn over(&self, gone: impl Fn(&Weak<Stream>, &str) -> bool) -> Vec<Transcode> {
        let mut all = lock(&self.all);
        for fitted in all.values_mut().filter(|f| f.is_read()) {
            fitted.wanted = Instant::now();
        }
        let old = |f: &Fitted, name: &str| gone(&f.of, name) || f.wanted.elapsed() > IDLE;
        let keys: Vec<_> = all.iter().filter(|((n, _), f)| old(f, n)).map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| all.remove(key)?.transcode).collect()
    }

    /// Ends everything, and waits for its threads.
    pub(super) fn clear(&self) {
        lock(&self.all).clear();
    }
}

#[cfg(test)]
mod tests;
