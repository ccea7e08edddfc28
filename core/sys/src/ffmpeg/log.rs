//! What FFmpeg says: one process-wide sink, and which job a line belongs to.

use super::error::text;
use super::raw;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError, RwLock};

/// Severity of a line, as FFmpeg numbers it. Lower is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum LogLevel {
    Quiet = -8,
    Panic = 0,
    Fatal = 8,
    Error = 16,
    Warning = 24,
    Info = 32,
    Verbose = 40,
    Debug = 48,
    Trace = 56,
}

impl LogLevel {
    fn from_raw(level: i32) -> LogLevel {
        match level {
            ..=7 => LogLevel::Panic,
            8..=15 => LogLevel::Fatal,
            16..=23 => LogLevel::Error,
            24..=31 => LogLevel::Warning,
            32..=39 => LogLevel::Info,
            40..=47 => LogLevel::Verbose,
            48..=55 => LogLevel::Debug,
            _ => LogLevel::Trace,
        }
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct LogRecord {
    /// How bad.
    pub level: LogLevel,
    /// Who says it (`libx264`, `mov,mp4,…`, `tcp`), empty when nobody in particular.
    pub component: String,
    /// The text, without a line end.
    pub message: String,
    /// Address of the C object that says it, to tell two of a kind apart; 0 = none.
    pub context: usize,
    /// The id of the [`log_scope`] of the thread that logs, or of the one in which the object was opened. Lines from a
    /// codec's own threads have none.
    pub scope: Option<u64>,
}

type Callback = Box<dyn Fn(LogRecord) + Send + Sync>;

static CALLBACK: RwLock<Option<Callback>> = RwLock::new(None);
/// Address of an object → (serial of its entry, scope).
static OWNERS: Mutex<Option<HashMap<usize, (u64, u64)>>> = Mutex::new(None);
static SERIAL: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static SCOPE: Cell<Option<u64>> = const { Cell::new(None) };
    static PARTIAL: RefCell<String> = const { RefCell::new(String::new()) };
    /// The object whose errors are counted while this thread is inside one of its calls, how many and the first.
    static HEARD: RefCell<Option<(usize, Complaints)>> = const { RefCell::new(None) };
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Sends every line of `level` and worse to `callback` instead of to stderr. It runs on the thread that logs, possibly
/// on several at once, and must neither block for long nor call FFmpeg. Replaces the one before.
pub fn set_log_callback(level: LogLevel, callback: impl Fn(LogRecord) + Send + Sync + 'static) {
    *CALLBACK.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(callback));
    // SAFETY: `sink` is a function that lives for ever and tolerates any thread.
    unsafe { raw::gsav_log_set(level as i32, Some(sink)) }
}

/// Marks lines of this thread, and of objects opened on it, as belonging to job `id` while the guard lives.
pub fn log_scope(id: u64) -> LogScope {
    LogScope { previous: SCOPE.replace(Some(id)), _not_send: std::marker::PhantomData }
}

/// What an object said with severity [`LogLevel::Error`] or worse.
#[derive(Clone, Debug, Default)]
pub struct Complaints {
    /// How many lines.
    pub count: u64,
    /// The first of them.
    pub first: String,
}

/// Runs `call`, adding to `heard` what `object` complains of meanwhile on this thread. Nothing is heard without a
/// callback ([`set_log_callback`]), as FFmpeg's lines then go elsewhere.
pub(crate) fn listen<T>(object: *const c_void, heard: &mut Complaints, call: impl FnOnce() -> T) -> T {
    HEARD.set(Some((object as usize, Complaints::default())));
    let result = call();
    if let Some((_, new)) = HEARD.take()
        && new.count > 0
    {
        if heard.count == 0 {
            heard.first = new.first;
        }
        heard.count += new.count;
    }
    result
}

/// Ends a [`log_scope`] when dropped, on the thread that made it.
#[must_use = "the scope ends when the guard is dropped"]
pub struct LogScope {
    previous: Option<u64>,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for LogScope {
    fn drop(&mut self) {
        SCOPE.set(self.previous);
    }
}

/// Remembers the scope in which an object was opened, for as long as the object lives.
#[derive(Default)]
pub(crate) struct Scoped {
    address: usize,
    /// Tells this entry from a later one: the address may be in use again before this is dropped.
    serial: u64,
}

impl Scoped {
    pub fn new(object: *const c_void) -> Scoped {
        let Some(id) = SCOPE.get() else { return Scoped::default() };
        let (address, serial) = (object as usize, SERIAL.fetch_add(1, Relaxed));
        OWNERS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(HashMap::new)
            .insert(address, (serial, id));
        Scoped { address, serial }
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        if self.address != 0
            && let Some(owners) = OWNERS.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && owners.get(&self.address).is_some_and(|(serial, _)| *serial == self.serial)
        {
            owners.remove(&self.address);
        }
    }
}

unsafe extern "C" fn sink(
    level: i32,
    context: *const c_void,
    parent: *const c_void,
    component: *const c_char,
    line: *const c_char,
) {
    // SAFETY: the shim passes terminated strings that live through the call.
    let (component, line) = unsafe { (text(component), text(line)) };
    // A panic in the callback must not unwind into C; a callback that makes FFmpeg log must not recurse.
    let _ = std::panic::catch_unwind(|| {
        if INSIDE.replace(true) {
            return;
        }
        deliver(level, context as usize, parent as usize, component, &line);
        INSIDE.set(false);
    })
    .map_err(|_| INSIDE.set(false));
}

fn deliver(level: i32, context: usize, parent: usize, component: String, line: &str) {
    // FFmpeg writes some lines piecemeal; a line counts when it ends.
    let complete = PARTIAL.try_with(|partial| {
        let mut partial = partial.borrow_mut();
        partial.push_str(line);
        if !partial.ends_with('\n') && partial.len() < 4096 {
            return None;
        }
        let message = partial.trim_end().to_owned();
        partial.clear();
        Some(message)
    });
    // A thread that is ending has no buffer any more.
    let message = complete.unwrap_or_else(|_| Some(line.trim_end().to_owned()));
    let Some(message) = message.filter(|m| !m.is_empty()) else { return };
    if level <= LogLevel::Error as i32 {
        HEARD.with_borrow_mut(|heard| match heard {
            Some((object, complaints)) if *object == context => {
                if complaints.count == 0 {
                    complaints.first.clone_from(&message);
                }
                complaints.count += 1;
            }
            _ => {}
        });
    }
    let scope = SCOPE.get().or_else(|| {
        let owners = OWNERS.lock().unwrap_or_else(PoisonError::into_inner);
        let owners = owners.as_ref()?;
        owners.get(&context).or_else(|| owners.get(&parent)).map(|(_, id)| *id)
    });
    let callback = CALLBACK.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(callback) = callback.as_ref() {
        callback(LogRecord { level: LogLevel::from_raw(level), component, message, context, scope });
    }
}

/// Writes a line into FFmpeg's log, as its libraries do.
pub fn log_write(level: LogLevel, message: &str) {
    if let Ok(message) = std::ffi::CString::new(message) {
        // SAFETY: a terminated string.
        unsafe { raw::gsav_log_write(level as i32, message.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn lines_reach_the_callback_with_their_scope() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = seen.clone();
        set_log_callback(LogLevel::Warning, move |r| {
            if r.message.starts_with("probe") {
                sink.lock().unwrap().push((r.level, r.message, r.scope));
            }
        });
        {
            let _scope = log_scope(7);
            log_write(LogLevel::Warning, "probe one");
            log_write(LogLevel::Info, "probe too low");
        }
        log_write(LogLevel::Error, "probe two");
        assert_eq!(
            *seen.lock().unwrap(),
            [
                (LogLevel::Warning, "probe one".to_owned(), Some(7)),
                (LogLevel::Error, "probe two".to_owned(), None)
            ]
        );
    }
}
