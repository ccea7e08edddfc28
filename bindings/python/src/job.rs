//! Pipelines and jobs.

use crate::buffer::Held;
use crate::error::{OrRaise, invalid, raise};
use crate::frame::Frame;
use crate::packet::Packet;
use crate::region::Region;
use crate::wait::{apart, in_slices, limit};
use ghoststream::event::{Next, State};
use ghoststream::job::{Change, Job as EngineJob, Taken};
use ghoststream::packet::StreamInfo;
use ghoststream::pipeline::Pipeline as EnginePipeline;
use ghoststream::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// A checked document.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct Pipeline {
    pipeline: EnginePipeline,
}

#[pymethods]
impl Pipeline {
    #[new]
    fn new(py: Python<'_>, document: &str) -> PyResult<Pipeline> {
        Ok(Pipeline { pipeline: EnginePipeline::from_json(document).or_raise(py)? })
    }

    /// The document with every default, as JSON.
    fn spec(&self, py: Python<'_>) -> PyResult<String> {
        json(py, &*self.pipeline.spec())
    }

    /// The plan, as JSON.
    fn plan(&self, py: Python<'_>) -> PyResult<String> {
        let pipeline = self.pipeline.clone();
        let plan = apart(py, || {}, move || pipeline.plan())?.or_raise(py)?;
        json(py, &plan)
    }

    fn start(&self, py: Python<'_>) -> PyResult<Job> {
        let pipeline = self.pipeline.clone();
        let job = py.detach(|| pipeline.start().job()).or_raise(py)?;
        Ok(Job { job: Some(Arc::new(job)), process: std::process::id() })
    }
}

/// A value of the engine as JSON.
pub fn json<T: serde::Serialize>(py: Python<'_>, value: &T) -> PyResult<String> {
    serde_json::to_string(value).map_err(|e| raise(py, &Error::new(ErrorKind::Internal, e.to_string())))
}

/// A running job.
#[pyclass(frozen, module = "ghoststream._native")]
pub struct Job {
    /// Taken when dropped.
    job: Option<Arc<EngineJob>>,
    /// The process that its threads run in.
    process: u32,
}

impl Job {
    fn get(&self, py: Python<'_>) -> PyResult<&Arc<EngineJob>> {
        let state = |message: &str| raise(py, &Error::new(ErrorKind::State, message));
        if self.process != std::process::id() {
            return Err(state("the job runs in the process that started it, not in a fork of that"));
        }
        self.job.as_ref().ok_or_else(|| state("the job is gone"))
    }

    /// The failure that ended the job, else `otherwise`: an end in the middle is told by its cause.
    fn failure(&self, py: Python<'_>, otherwise: Error) -> PyErr {
        let ended =
            self.get(py).map(|job| py.detach(|| job.wait(Some(Duration::from_secs(5)))).ok().flatten());
        match ended {
            Ok(Some(done)) => match done.into_result() {
                Err(e) => raise(py, &e),
                Ok(_) => raise(py, &otherwise),
            },
            _ => raise(py, &otherwise),
        }
    }

    fn wrap<T>(
        py: Python<'_>,
        taken: Taken<T>,
        wrap: impl FnOnce(T) -> PyResult<Py<PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        match taken {
            Taken::Item(item) => wrap(item),
            Taken::Timeout => Ok(py.None()),
            Taken::End => Ok(false.into_pyobject(py)?.to_owned().into_any().unbind()),
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let job = self.job.take();
        if self.process != std::process::id() {
            // A fork has the memory without the threads: whoever waits for them waits for ever.
            std::mem::forget(job);
            return;
        }
        // Ending a job waits for its threads, which may be waiting to give memory back to Python.
        if Python::try_attach(|py| py.detach(move || drop(job))).is_none() {
            // The interpreter is gone; the process's end takes the threads along.
        }
    }
}

#[pymethods]
impl Job {
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.get(py)?.id())
    }

    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(match self.get(py)?.state() {
            State::Starting => "starting",
            State::Running => "running",
            State::Paused => "paused",
            State::Draining => "draining",
            State::Finished => "finished",
        })
    }

    /// The next event as JSON; `None` when none came in time, `""` when there will be none.
    fn next_event(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<String>> {
        let (job, timeout) = (self.get(py)?, limit(py, timeout)?);
        let next = in_slices(py, timeout, |slice| match job.next_event(Some(slice)) {
            Next::Event(event) => Some(Some(event)),
            Next::Timeout => None,
            Next::End => Some(None),
        })?;
        match next {
            None => Ok(None),
            Some(None) => Ok(Some(String::new())),
            Some(Some(event)) => json(py, &event).map(Some),
        }
    }

    /// A file descriptor that becomes readable when there are events; `unwatch` before closing it. No engine thread
    /// enters Python.
    #[cfg(unix)]
    fn watch(&self, py: Python<'_>) -> PyResult<i32> {
        use std::os::fd::IntoRawFd;
        let (reader, mut writer) = std::io::pipe()?;
        self.get(py)?.set_wakeup(Some(Box::new(move || {
            // A reader that has gone wants no more.
            let _ = writer.write(&[0]);
        })));
        Ok(reader.into_raw_fd())
    }

    /// Ends `watch`.
    fn unwatch(&self, py: Python<'_>) -> PyResult<()> {
        let job = self.get(py)?;
        py.detach(|| job.set_wakeup(None));
        Ok(())
    }

    /// How it ended, as JSON; `None` when it did not in time.
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<String>> {
        let (job, timeout) = (self.get(py)?, limit(py, timeout)?);
        let done = in_slices(py, timeout, |slice| job.wait(Some(slice)).transpose())?;
        match done {
            None => Ok(None),
            Some(done) => json(py, &done.or_raise(py)?).map(Some),
        }
    }

    fn stats(&self, py: Python<'_>) -> PyResult<String> {
        json(py, &self.get(py)?.stats())
    }

    /// Applies a change document.
    fn set(&self, py: Python<'_>, change: &str) -> PyResult<()> {
        let change: Change = ghoststream::spec::parse_json(change).or_raise(py)?;
        self.get(py)?.set(&change).or_raise(py)
    }

    fn pause(&self, py: Python<'_>) -> PyResult<()> {
        self.get(py)?.pause().or_raise(py)
    }

    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        self.get(py)?.resume().or_raise(py)
    }

    fn split(&self, py: Python<'_>, output: usize) -> PyResult<()> {
        self.get(py)?.split(output).or_raise(py)
    }

    fn save(&self, py: Python<'_>, output: usize, seconds: Option<f64>) -> PyResult<()> {
        self.get(py)?.save(output, seconds).or_raise(py)
    }

    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let job = self.get(py)?;
        py.detach(|| job.stop());
        Ok(())
    }

    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let job = self.get(py)?;
        py.detach(|| job.cancel());
        Ok(())
    }

    /// Feeds a source of bytes.
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        let held = Held::new(data)?;
        let len = held.as_ref().len();
        let item = held.shape().iter().fold(held.item_size(), |n, d| n * d);
        if item != len {
            return Err(invalid(py, "data: its bytes have gaps"));
        }
        let (job, feeder) = (self.get(py)?, self.get(py)?.clone());
        // Blocks while the job's buffer is full. Ctrl-C ends the job, because half of the data is in it.
        match apart(py, || job.cancel(), move || feeder.write(held.as_ref()))? {
            Ok(()) => Ok(len),
            Err(e) => Err(self.failure(py, e)),
        }
    }

    fn finish_input(&self, py: Python<'_>) -> PyResult<()> {
        let job = self.get(py)?;
        py.detach(|| job.finish_input());
        Ok(())
    }

    /// Feeds a source of frames; `False` when there was no room in time.
    fn push_frame(&self, py: Python<'_>, frame: &Frame, timeout: Option<f64>) -> PyResult<bool> {
        let (job, timeout, frame) = (self.get(py)?, limit(py, timeout)?, frame.engine());
        let pushed = in_slices(py, timeout, |slice| try_push(job, &frame, slice))?;
        match pushed {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(e)) => Err(self.failure(py, e)),
        }
    }

    /// Feeds a source of frames and takes the packets of output 0 that are ready, so that neither side waits for the
    /// other for ever.
    fn exchange(&self, py: Python<'_>, frame: &Frame) -> PyResult<Vec<Packet>> {
        let (job, frame) = (self.get(py)?, frame.engine());
        let mut packets = Vec::new();
        let take = |packets: &mut Vec<Packet>, timeout: Duration| -> ghoststream::Result<()> {
            let mut timeout = timeout;
            while let Taken::Item(packet) = job.next_packet(0, Some(timeout))? {
                packets.push(Packet::new(packet));
                timeout = Duration::ZERO;
            }
            Ok(())
        };
        let outcome = in_slices(py, None, |_| match job.try_push_frame(frame.clone()) {
            Err(e) if e.kind() == ErrorKind::Busy => {
                take(&mut packets, Duration::from_millis(1)).err().map(Err)
            }
            Err(e) => Some(Err(e)),
            Ok(()) => Some(take(&mut packets, Duration::ZERO)),
        })?;
        match outcome {
            Some(Err(e)) => Err(self.failure(py, e)),
            _ => Ok(packets),
        }
    }

    /// The next packet of an output; `None` when none came in time, `False` when there will be none.
    fn next_packet(&self, py: Python<'_>, output: usize, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let (job, timeout) = (self.get(py)?, limit(py, timeout)?);
        let taken = in_slices(py, timeout, |slice| match job.next_packet(output, Some(slice)) {
            Ok(Taken::Timeout) => None,
            other => Some(other),
        })?;
        Job::wrap(py, taken.unwrap_or(Ok(Taken::Timeout)).or_raise(py)?, |packet| {
            Ok(Py::new(py, Packet::new(packet))?.into_any())
        })
    }

    /// The next segment of an output as (name, data, start, duration); `None` and `False` as `next_packet`.
    fn next_segment(&self, py: Python<'_>, output: usize, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let (job, timeout) = (self.get(py)?, limit(py, timeout)?);
        let taken = in_slices(py, timeout, |slice| match job.next_segment(output, Some(slice)) {
            Ok(Taken::Timeout) => None,
            other => Some(other),
        })?;
        Job::wrap(py, taken.unwrap_or(Ok(Taken::Timeout)).or_raise(py)?, |s| {
            let segment = (s.name, Region::of_bytes(s.data), s.start, s.duration);
            Ok(segment.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// The streams of a packet output; `None` when they were not known in time.
    fn streams<'py>(
        &self,
        py: Python<'py>,
        output: usize,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let (job, timeout) = (self.get(py)?, limit(py, timeout)?);
        let found = in_slices(py, timeout, |slice| job.streams(output, Some(slice)).transpose())?;
        let streams = match found {
            None => return Ok(None),
            Some(Ok(streams)) => streams,
            Some(Err(e)) if e.kind() == ErrorKind::State => return Err(self.failure(py, e)),
            Some(Err(e)) => return Err(raise(py, &e)),
        };
        let list = PyList::empty(py);
        for stream in &streams {
            list.append(describe(py, stream)?)?;
        }
        Ok(Some(list))
    }
}

/// Pushes, waiting at most `slice` for room.
fn try_push(
    job: &EngineJob,
    frame: &ghoststream::frame::Frame,
    slice: Duration,
) -> Option<ghoststream::Result<()>> {
    let begin = std::time::Instant::now();
    loop {
        match job.try_push_frame(frame.clone()) {
            Err(e) if e.kind() == ErrorKind::Busy => {}
            other => return Some(other),
        }
        if begin.elapsed() >= slice {
            return None;
        }
        std::thread::sleep(Duration::from_millis(1).min(slice));
    }
}

fn describe<'py>(py: Python<'py>, stream: &StreamInfo) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("index", stream.index)?;
    d.set_item("kind", stream.kind.name())?;
    d.set_item("codec", stream.codec.name())?;
    d.set_item("profile", stream.profile)?;
    d.set_item("level", stream.level)?;
    d.set_item("extradata", PyBytes::new(py, &stream.extradata))?;
    d.set_item("time_base", (stream.time_base.num, stream.time_base.den))?;
    d.set_item("language", stream.language.as_deref())?;
    if let Some(video) = &stream.video {
        d.set_item("width", video.width)?;
        d.set_item("height", video.height)?;
        d.set_item("pixel_format", video.format.map(|f| f.name()))?;
        d.set_item("frame_rate", video.frame_rate.map(|r| (r.num, r.den)))?;
    }
    if let Some(audio) = &stream.audio {
        d.set_item("sample_rate", audio.sample_rate)?;
        d.set_item("channels", audio.layout.channels)?;
        d.set_item("layout", &audio.layout.name)?;
        d.set_item("frame_size", audio.frame_size)?;
        d.set_item("initial_padding", audio.initial_padding)?;
    }
    Ok(d)
}
