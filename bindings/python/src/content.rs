//! Bytes that Python holds, for the engine to decode: memory, which is not copied, or an object that reads and seeks.
//!
//! No thread of the engine calls Python. What its thread wants of an object it leaves on a [`Desk`], and the Python thread
//! that waits in a call of ours reads it there: with the interpreter attached, on the thread that the caller chose, and
//! with Ctrl-C and exceptions where they belong.

use crate::buffer::Held;
use crate::error::{OrRaise, invalid, raise, raise_from};
use crate::wait::in_slices;
use ghoststream::source::{Content, ReadAt};
use ghoststream::{Error, ErrorKind};
use pyo3::exceptions::{PyBufferError, PyException, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

/// What the engine's thread wants of an object.
#[derive(Clone, Copy)]
struct Wanted {
    offset: u64,
    len: usize,
}

#[derive(Default)]
struct Reading {
    wanted: Option<Wanted>,
    got: Option<io::Result<Vec<u8>>>,
    closed: bool,
}

/// State that a thread of the engine and Python's threads share, and what the engine's thread wants of Python meanwhile.
#[derive(Default)]
pub struct Desk<S> {
    state: Mutex<S>,
    reading: Mutex<Reading>,
    changed: Condvar,
    answered: Condvar,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Desk<S> {
    /// The state. Nothing may be wanted of Python while it is locked.
    pub fn lock(&self) -> MutexGuard<'_, S> {
        lock(&self.state)
    }

    /// Tells whoever waits that the state is another.
    pub fn tell(&self) {
        self.changed.notify_all();
    }

    /// Waits until somebody tells.
    pub fn wait<'a>(&self, state: MutexGuard<'a, S>) -> MutexGuard<'a, S> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'a>(&self, state: MutexGuard<'a, S>, slice: Duration) -> MutexGuard<'a, S> {
        self.changed.wait_timeout(state, slice).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Nothing is read for the engine any more.
    pub fn close(&self) {
        lock(&self.reading).closed = true;
        self.answered.notify_all();
        self.tell();
    }

    /// Waits for `check` to find something, without the interpreter lock, and meanwhile reads `source` for the engine.
    /// Signal handlers run in between; an exception of theirs ends the wait.
    pub fn attend<T: Send>(
        &self,
        py: Python<'_>,
        source: Option<&Source>,
        mut check: impl FnMut(&mut S) -> Option<T> + Send,
    ) -> PyResult<T>
    where
        S: Send,
    {
        enum Step<T> {
            Found(T),
            Read(Wanted),
        }
        loop {
            let step = in_slices(py, None, |slice| {
                let mut state = self.lock();
                for last in [false, true] {
                    if let Some(found) = check(&mut state) {
                        return Some(Step::Found(found));
                    }
                    if let Some(wanted) = lock(&self.reading).wanted.take() {
                        return Some(Step::Read(wanted));
                    }
                    if !last {
                        state = self.wait_for(state, slice);
                    }
                }
                None
            })?;
            let wanted = match step {
                Some(Step::Found(found)) => return Ok(found),
                Some(Step::Read(wanted)) => wanted,
                None => continue,
            };
            let got = match source {
                Some(Source::Object(object)) => object.read(py, wanted),
                _ => Ok(Err(io::ErrorKind::Unsupported.into())),
            };
            let (got, raised) = match got {
                Ok(got) => (got, None),
                Err(raised) => (Err(io::ErrorKind::Other.into()), Some(raised)),
            };
            lock(&self.reading).got = Some(got);
            self.answered.notify_all();
            if let Some(raised) = raised {
                return Err(raised);
            }
        }
    }
}

/// The engine's side of an object.
struct Asking<S> {
    desk: Arc<Desk<S>>,
    size: u64,
}

impl<S: Send> ReadAt for Asking<S> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reading = lock(&self.desk.reading);
        reading.got = None;
        reading.wanted = Some(Wanted { offset, len: buffer.len() });
        drop(reading);
        // Whoever looked for it before now waits, or looks again.
        drop(self.desk.lock());
        self.desk.tell();
        let mut reading = lock(&self.desk.reading);
        let got = loop {
            if reading.closed {
                reading.wanted = None;
                return Err(io::Error::other("the reader is closed"));
            }
            match reading.got.take() {
                Some(got) => break got?,
                None => {
                    reading = self.desk.answered.wait(reading).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(reading);
        buffer[..got.len()].copy_from_slice(&got);
        Ok(got.len())
    }
}

/// A file in Python's hands.
pub enum Source {
    Memory(Arc<Memory>),
    Object(Object),
}

impl Source {
    /// From bytes-like memory, or an object with `read` and `seek`.
    pub fn new(data: &Bound<'_, PyAny>) -> PyResult<Source> {
        match Held::new(data) {
            Ok(held) => Memory::new(data.py(), held).map(|memory| Source::Memory(Arc::new(memory))),
            Err(e) if e.is_instance_of::<PyBufferError>(data.py()) => Err(e),
            Err(_) => Object::new(data).map(Source::Object),
        }
    }

    /// For the engine; what is read of an object is wanted at `desk`.
    pub fn content<S: Send + 'static>(&self, desk: &Arc<Desk<S>>) -> Content {
        match self {
            Source::Memory(memory) => Content::new(Shown(memory.clone())),
            Source::Object(object) => Content::new(Asking { desk: desk.clone(), size: object.size }),
        }
    }

    /// The exception for `e`, with that of the object as its cause where there was one.
    pub fn raise(&self, py: Python<'_>, e: &Error) -> PyErr {
        let cause = match self {
            // The engine tells the same failure until something else is read.
            Source::Object(object) => {
                let failure = lock(&object.failure);
                let told = failure.as_ref().filter(|(text, _)| e.message().contains(text.as_str()));
                told.map(|(_, raised)| raised.clone_ref(py))
            }
            Source::Memory(_) => None,
        };
        raise_from(py, e, cause)
    }

    /// Gives memory back, once nobody reads it.
    pub fn close(&self) {
        if let Source::Memory(memory) = self {
            drop(memory.0.write().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// Memory of a Python object until it is closed.
pub struct Memory(RwLock<Option<Held>>);

impl Memory {
    fn new(py: Python<'_>, held: Held) -> PyResult<Memory> {
        let mut step = held.item_size() as isize;
        for (n, stride) in held.shape().into_iter().zip(held.strides()).rev() {
            if n > 1 && stride != step {
                return Err(invalid(py, "src: its bytes do not follow one another; pass a copy of them"));
            }
            step *= n as isize;
        }
        if held.item_size() != 1 {
            let message = format!("src: items of {} bytes are no file; pass bytes (uint8)", held.item_size());
            return Err(invalid(py, message));
        }
        Ok(Memory(RwLock::new(Some(held))))
    }
}

struct Shown(Arc<Memory>);

impl ReadAt for Shown {
    fn size(&self) -> u64 {
        let held = self.0.0.read().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map_or(0, |held| held.as_ref().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let held = self.0.0.read().unwrap_or_else(PoisonError::into_inner);
        let data = held.as_ref().ok_or_else(|| io::Error::other("the reader is closed"))?.as_ref();
        let data = data.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let len = data.len().min(buffer.len());
        buffer[..len].copy_from_slice(&data[..len]);
        Ok(len)
    }
}

/// A file-like object.
pub struct Object {
    object: Py<PyAny>,
    size: u64,
    /// What it raised last, in words and as it was.
    failure: Mutex<Option<(String, PyErr)>>,
}

impl Object {
    fn new(object: &Bound<'_, PyAny>) -> PyResult<Object> {
        let py = object.py();
        let has = |name| object.getattr_opt(name).map(|method| method.is_some());
        if !has("read")? {
            let kind = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "src: {kind} is no path, no bytes and no object with read() and seek()"
            )));
        }
        let seekable = match object.getattr_opt("seekable")? {
            Some(seekable) => seekable.call0()?.is_truthy()?,
            None => true,
        };
        if !seekable || !has("seek")? {
            let e = Error::unsupported(
                "src: cannot seek, which a reader needs: pass its bytes (src.read()), or transcode it, which reads once",
            );
            return Err(raise(py, &e));
        }
        let end = object.call_method1("seek", (0, 2))?;
        // Some give nothing.
        let end = if end.is_none() { object.call_method0("tell")? } else { end };
        let size = end.extract()?;
        Ok(Object { object: object.clone().unbind(), size, failure: Mutex::new(None) })
    }

    /// What is wanted. `Err` for what is no failure of the object: Ctrl-C, the end of the program.
    fn read(&self, py: Python<'_>, wanted: Wanted) -> PyResult<io::Result<Vec<u8>>> {
        match self.try_read(py, wanted) {
            Ok(data) => Ok(Ok(data)),
            Err(e) if e.is_instance_of::<PyException>(py) => {
                let kind =
                    e.get_type(py).name().map_or_else(|_| "an exception".into(), |name| name.to_string());
                let text = format!("{kind}: {}", e.value(py));
                *lock(&self.failure) = Some((text.clone(), e));
                Ok(Err(io::Error::other(text)))
            }
            Err(e) => Err(e),
        }
    }

    fn try_read(&self, py: Python<'_>, wanted: Wanted) -> PyResult<Vec<u8>> {
        let object = self.object.bind(py);
        // Always: somebody else may have moved it.
        object.call_method1("seek", (wanted.offset,))?;
        let data = object.call_method1("read", (wanted.len,))?;
        if data.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("read() gave text: open the file in binary mode"));
        }
        if data.is_none() {
            return Err(PyTypeError::new_err(
                "read() gave None: an object that does not wait cannot be decoded",
            ));
        }
        let data = Held::new(&data)?;
        let data = data.as_ref();
        if data.len() > wanted.len {
            let message = format!("read({}) gave {} bytes", wanted.len, data.len());
            return Err(PyValueError::new_err(message));
        }
        Ok(data.to_vec())
    }
}

/// Runs `work` on a thread of its own with the content of `source`, and attends to it. When a signal ends the wait,
/// `stop` is called and the thread left to end by itself.
pub fn apart_with<T: Send + 'static>(
    py: Python<'_>,
    source: &Source,
    stop: impl FnOnce(),
    work: impl FnOnce(&Content) -> ghoststream::Result<T> + Send + 'static,
) -> PyResult<T> {
    let desk = Arc::new(Desk::<Option<ghoststream::Result<T>>>::default());
    let (content, answers) = (source.content(&desk), desk.clone());
    let spawned = std::thread::Builder::new().name("gs-python".into()).spawn(move || {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&content)));
        let done = done.unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "a thread panicked")));
        *answers.lock() = Some(done);
        answers.tell();
    });
    spawned.map_err(|e| Error::new(ErrorKind::Memory, format!("cannot start a thread: {e}"))).or_raise(py)?;
    let done = desk.attend(py, Some(source), Option::take);
    desk.close();
    match done {
        Ok(done) => done.map_err(|e| source.raise(py, &e)),
        Err(e) => {
            stop();
            Err(e)
        }
    }
}
