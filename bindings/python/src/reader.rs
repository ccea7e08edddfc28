//! Decoding on a thread of its own, a few frames ahead of Python.

use crate::content::{Desk, Source};
use crate::error::{OrRaise, raise};
use crate::frame::{Frame, Pool};
use ghoststream::frame::Frame as EngineFrame;
use ghoststream::reader::{Reader as EngineReader, ReaderOptions};
use ghoststream::source::Interrupt;
use ghoststream::spec::{Seconds, SourceSpec};
use ghoststream::{Error, ErrorKind, Result};
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Frames decoded ahead of one that reads on.
const AHEAD: usize = 4;

/// What the thread is asked to do beside reading on.
#[derive(Clone, Copy)]
enum Request {
    Seek(f64),
    SeekFrame(u64),
    Len,
}

#[derive(Default)]
struct State {
    queue: VecDeque<EngineFrame>,
    /// How many frames may wait in the queue; 0 = nobody reads now.
    depth: usize,
    /// Why there are no more frames, and whether anybody was told.
    end: Option<Result<()>>,
    told: bool,
    /// Requests are numbered, because Ctrl-C may leave one without anybody waiting for its answer.
    number: u64,
    request: Option<(u64, Request)>,
    answer: Option<(u64, Result<u64>)>,
    /// What the source says of itself, once it is open.
    opened: Option<Result<String>>,
    closed: bool,
}

type Shared = Desk<State>;

impl Shared {
    /// Opens, tells so, and serves until closed.
    fn run(&self, open: impl FnOnce() -> Result<EngineReader>) {
        let opened = catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "the reading thread panicked")));
        let reader = match opened {
            Ok(reader) => reader,
            Err(e) => {
                self.lock().opened = Some(Err(e));
                return self.tell();
            }
        };
        let info = serde_json::to_string(reader.info())
            .map_err(|e| Error::with_source(ErrorKind::Internal, format!("cannot write JSON: {e}"), e));
        self.lock().opened = Some(info);
        self.tell();
        self.serve(reader);
    }

    fn serve(&self, mut reader: EngineReader) {
        // Of what happens now the newest is wanted, however slow whoever takes it is.
        let live = reader.is_live();
        let mut state = self.lock();
        while !state.closed {
            if let Some((number, request)) = state.request.take() {
                drop(state);
                let answer = match request {
                    Request::Seek(time) => reader.seek(Seconds(time)).map(|()| 0),
                    Request::SeekFrame(index) => reader.seek_frame(index).map(|()| 0),
                    Request::Len => reader.len(),
                };
                state = self.lock();
                if !matches!(request, Request::Len) {
                    state.queue.clear();
                    state.end = None;
                    state.told = false;
                    state.depth = 0;
                }
                state.answer = Some((number, answer));
                self.tell();
            } else if (state.queue.len() < state.depth || live && state.depth > 0) && state.end.is_none() {
                drop(state);
                let next = reader.next();
                state = self.lock();
                match next {
                    Ok(Some(frame)) => {
                        if live {
                            state.queue.pop_front();
                        }
                        state.queue.push_back(frame);
                    }
                    Ok(None) => state.end = Some(Ok(())),
                    Err(e) => state.end = Some(Err(e)),
                }
                self.tell();
            } else {
                state = self.wait(state);
            }
        }
    }
}

/// A source that is decoded frame by frame.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct Reader {
    shared: Arc<Shared>,
    /// The bytes that are decoded, where Python has them.
    source: Option<Source>,
    /// Whether a Python thread is in a call.
    in_use: AtomicBool,
    interrupt: Interrupt,
    info: String,
    /// For packed copies of its pictures.
    pool: Arc<Pool>,
    /// The process that its thread runs in.
    process: u32,
}

impl Reader {
    fn ask(&self, py: Python<'_>, request: Request) -> PyResult<u64> {
        let _turn = self.enter(py)?;
        let number = {
            let mut state = self.shared.lock();
            self.check_open(py, &state)?;
            state.number += 1;
            state.request = Some((state.number, request));
            state.number
        };
        self.shared.tell();
        let answer = self.shared.attend(py, self.source.as_ref(), |state| match state.answer.take() {
            Some((n, answer)) if n == number => Some(answer),
            _ => state.closed.then(|| Err(Error::cancelled())),
        })?;
        answer.map_err(|e| self.raise(py, &e))
    }

    /// The exception for a failure of the engine's.
    fn raise(&self, py: Python<'_>, e: &Error) -> PyErr {
        self.source.as_ref().map_or_else(|| raise(py, e), |source| source.raise(py, e))
    }

    /// Refuses a second thread: frames would go to either.
    fn enter(&self, py: Python<'_>) -> PyResult<Turn<'_>> {
        if self.process != std::process::id() {
            let message = "the reader belongs to the process that opened it, not to a fork of that";
            return Err(raise(py, &Error::new(ErrorKind::State, message)));
        }
        if self.in_use.swap(true, Ordering::Acquire) {
            return Err(raise(py, &Error::new(ErrorKind::Busy, "another thread is using the reader")));
        }
        Ok(Turn(&self.in_use))
    }

    fn check_open(&self, py: Python<'_>, state: &State) -> PyResult<()> {
        if state.closed {
            return Err(raise(py, &Error::new(ErrorKind::State, "the reader is closed")));
        }
        Ok(())
    }
}

/// Ends a call that [`Reader::enter`] began.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // In a fork the thread is gone, perhaps with the lock.
        if self.process == std::process::id() {
            self.close();
        }
    }
}

#[pymethods]
impl Reader {
    #[new]
    #[pyo3(signature = (source, video, audio, video_stream, audio_stream, pixel_format, width, height, threads, data = None))]
    #[expect(clippy::too_many_arguments, reason = "one for each field of the options")]
    fn new(
        py: Python<'_>,
        source: &str,
        video: bool,
        audio: bool,
        video_stream: Option<usize>,
        audio_stream: Option<usize>,
        pixel_format: Option<String>,
        width: Option<u32>,
        height: Option<u32>,
        threads: u32,
        data: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Reader> {
        let spec: SourceSpec = ghoststream::spec::parse_json(source).or_raise(py)?;
        let options =
            ReaderOptions { video, audio, video_stream, audio_stream, pixel_format, width, height, threads };
        let interrupt = Interrupt::new();
        let shared = Arc::new(Shared::default());
        let held = data.map(Source::new).transpose()?;
        let content = held.as_ref().map(|held| held.content(&shared));
        let (served, stop) = (shared.clone(), interrupt.clone());
        let open = move || match content {
            Some(content) => EngineReader::open_content(content, &spec, options, stop),
            None => EngineReader::open_with(&spec, options, stop),
        };
        std::thread::Builder::new()
            .name("gs-reader".into())
            .spawn(move || served.run(open))
            .map_err(|e| Error::new(ErrorKind::Memory, format!("cannot start a thread: {e}")))
            .or_raise(py)?;
        let (in_use, process) = (AtomicBool::new(false), std::process::id());
        // From here on, dropping it ends the thread.
        let mut reader = Reader {
            shared,
            source: held,
            in_use,
            interrupt,
            info: String::new(),
            pool: Arc::default(),
            process,
        };
        let opened = reader.shared.attend(py, reader.source.as_ref(), |state| state.opened.take())?;
        reader.info = opened.map_err(|e| reader.raise(py, &e))?;
        Ok(reader)
    }

    /// What the source says of itself, as JSON.
    fn info(&self) -> &str {
        &self.info
    }

    /// The next frame; `None` at the end. `ahead` goes on decoding meanwhile.
    fn next(&self, py: Python<'_>, ahead: bool) -> PyResult<Option<Frame>> {
        let _turn = self.enter(py)?;
        let shared = &self.shared;
        {
            let mut state = shared.lock();
            self.check_open(py, &state)?;
            state.depth = if ahead { AHEAD } else { 1 };
            // Reading on after an error is worth a try.
            if matches!(state.end, Some(Err(_))) && state.told {
                state.end = None;
                state.told = false;
            }
        }
        shared.tell();
        let next = shared.attend(py, self.source.as_ref(), |state| {
            let found = match state.queue.pop_front() {
                Some(frame) => Some(Ok(Some(frame))),
                None if state.closed => Some(Err(Error::cancelled())),
                None => state.end.clone().map(|end| end.map(|()| None)),
            };
            state.told |= matches!(found, Some(Err(_)));
            if found.is_some() && !ahead {
                state.depth = 0;
            }
            found
        })?;
        // There is room again, or nobody reads on.
        shared.tell();
        Ok(next.map_err(|e| self.raise(py, &e))?.map(|frame| Frame::pooled(frame, &self.pool)))
    }

    /// Goes to a time in seconds.
    fn seek(&self, py: Python<'_>, time: f64) -> PyResult<()> {
        self.ask(py, Request::Seek(time)).map(drop)
    }

    /// Goes to a picture.
    fn seek_frame(&self, py: Python<'_>, index: u64) -> PyResult<()> {
        self.ask(py, Request::SeekFrame(index)).map(drop)
    }

    /// The number of pictures.
    fn len(&self, py: Python<'_>) -> PyResult<u64> {
        self.ask(py, Request::Len)
    }

    /// Closes the source; the thread ends by itself.
    fn close(&self) {
        self.interrupt.cancel();
        let frames = {
            let mut state = self.shared.lock();
            state.closed = true;
            std::mem::take(&mut state.queue)
        };
        drop(frames);
        self.shared.close();
        if let Some(source) = &self.source {
            source.close();
        }
    }
}
