//! Waiting for callers.

use super::address::{self, Raw};
use super::api::{Ready, api, text};
use super::socket::{Handle, Socket, flag};
use super::{Caller, Decision, Kind, Options, Refusal, Result};
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

type Decide = dyn Fn(&Caller) -> Decision + Send + Sync;

/// What decides about callers, by the number that libsrt is given instead of an address: it may ask until the very end.
static DECIDERS: RwLock<Option<HashMap<usize, Arc<Decide>>>> = RwLock::new(None);
static NEXT: AtomicUsize = AtomicUsize::new(1);

const POLL_IN: c_int = 1;
const POLL_ERR: c_int = 8;

/// Waits for callers at one address; any number of connections may come of it. Any thread may call any method.
///
/// Who may connect is decided before there is a connection, from the caller's address and stream id; the connections live
/// on when the listener goes.
pub struct Listener {
    handle: Handle,
    poll: c_int,
    decider: usize,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("local", &self.local()).finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens at `local` (port 0 = any, see [`Listener::local`]). `options` hold for all callers; `decide` says what becomes
    /// of each, see [`Decision`].
    ///
    /// # Errors
    /// `Unsupported` without libsrt; `Invalid` settings; `System` when the address is taken.
    pub fn bind(
        local: SocketAddr,
        options: &Options,
        decide: impl Fn(&Caller) -> Decision + Send + Sync + 'static,
    ) -> Result<Listener> {
        let handle = Handle::create()?;
        handle.configure(options)?;
        handle.bind(local)?;
        let api = handle.api;
        // SAFETY: takes nothing.
        let poll = api.check(unsafe { (api.epoll_create)() }, "create a poll")?;
        let decider = NEXT.fetch_add(1, Ordering::Relaxed);
        let decide: Arc<Decide> = Arc::new(decide);
        deciders(|all| all.insert(decider, decide));
        let listener = Listener { handle, poll, decider };
        let events = POLL_IN | POLL_ERR;
        // SAFETY: `ask` tolerates any thread and any moment; what it gets is a number, not an address.
        let code = unsafe {
            (api.listen_callback)(listener.handle.id, ask, ptr::without_provenance_mut(listener.decider))
        };
        api.check(code, "ask about callers")?;
        const BACKLOG: c_int = 64;
        // SAFETY: takes numbers.
        api.check(unsafe { (api.listen)(listener.handle.id, BACKLOG) }, &format!("listen at {local}"))?;
        // SAFETY: a poll and a socket of ours; the events are copied.
        api.check(unsafe { (api.epoll_add)(poll, listener.handle.id, &events) }, "poll")?;
        Ok(listener)
    }

    /// A connection that was made; `None` when there was none within `timeout`. Its stream id and peer are the socket's. Of
    /// several that wait, any may come first.
    ///
    /// # Errors
    /// `Closed`; `System`.
    pub fn accept(&self, timeout: Duration) -> Result<Option<Socket>> {
        let api = self.handle.api;
        let ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        let mut ready = Ready::default();
        // SAFETY: room for one event.
        let count = unsafe { (api.epoll_wait)(self.poll, &mut ready, 1, ms) };
        match api.check(count, "wait for callers") {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(e) if e.kind == Kind::TimedOut => return Ok(None),
            Err(e) => return Err(e),
        }
        let (mut raw, mut len) = (Raw::room(), Raw::room().len());
        // SAFETY: room for any address, and its length.
        let id = unsafe { (api.accept)(self.handle.id, raw.as_mut_ptr(), &mut len) };
        match api.check(id, "accept") {
            Ok(id) => Socket::of(Handle::of(api, id)).map(Some),
            // The caller was quicker to leave.
            Err(e) if e.kind == Kind::TimedOut => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Where it listens.
    pub fn local(&self) -> Option<SocketAddr> {
        self.handle.local()
    }

    /// Listens no more. Connections go on. A call of [`Listener::accept`] that waits ends within its time.
    pub fn close(&self) {
        self.handle.close();
        deciders(|all| all.remove(&self.decider));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        // SAFETY: ours, and nobody waits on it any more.
        unsafe { (self.handle.api.epoll_release)(self.poll) };
    }
}

fn deciders<T>(with: impl FnOnce(&mut HashMap<usize, Arc<Decide>>) -> T) -> T {
    with(DECIDERS.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(HashMap::new))
}

/// What libsrt asks about each caller, on its receiving thread.
unsafe extern "C" fn ask(
    opaque: *mut c_void,
    socket: c_int,
    _version: c_int,
    peer: *const libc::sockaddr,
    stream_id: *const c_char,
) -> c_int {
    let known = {
        let all = DECIDERS.read().unwrap_or_else(PoisonError::into_inner);
        all.as_ref().and_then(|all| all.get(&opaque.addr()).cloned())
    };
    // SAFETY: a whole address, and a terminated string or NULL.
    let (peer, stream_id) = unsafe { (address::read(peer), text(stream_id)) };
    let decision = match (known, peer) {
        // A panic must not unwind into C.
        (Some(decide), Some(peer)) => catch_unwind(AssertUnwindSafe(|| decide(&Caller { peer, stream_id })))
            .unwrap_or(Decision::Refuse(Refusal::Internal)),
        _ => Decision::Refuse(Refusal::Internal),
    };
    let Ok(api) = api() else { return -1 };
    let refusal = match decision {
        Decision::Accept => return 0,
        Decision::AcceptWith(passphrase) => {
            let len = passphrase.len() as c_int;
            // SAFETY: the socket that is asked about; `len` bytes, which are copied.
            match unsafe { (api.set)(socket, flag::PASSPHRASE, passphrase.as_ptr().cast(), len) } {
                0.. => return 0,
                _ => Refusal::Internal,
            }
        }
        Decision::Refuse(refusal) => refusal,
    };
    // SAFETY: takes numbers.
    unsafe { (api.set_reject_reason)(socket, refusal as c_int) };
    -1
}
