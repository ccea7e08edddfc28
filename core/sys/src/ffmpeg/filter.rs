//! Filter graphs: `AVFilterGraph` between buffer sources and sinks.

use super::buffer::BufferRef;
use super::error::{AGAIN, EOF, Error, Result, as_ptr, c_option, c_string, check, text};
use super::log::Scoped;
use super::{ChannelLayout, Colour, Frame, HwDevice, HwFrames, PixelFormat, SampleFormat};
use super::{hdr, raw};
use std::ffi::{CString, c_char};
use std::ptr::{self, NonNull};

/// Pictures or sound that go into a graph under a label (`[in]` in its text).
#[derive(Debug)]
pub enum FilterInput<'a> {
    /// Pictures.
    Video {
        /// The label.
        name: String,
        /// Pixel format.
        format: PixelFormat,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Base of the frames' times.
        time_base: (i32, i32),
        /// Frames per second, where constant.
        frame_rate: Option<(i32, i32)>,
        /// Sample (pixel) aspect ratio.
        sample_aspect: (i32, i32),
        /// Colour description (negotiated by FFmpeg 7.0 and newer, else read from each frame).
        colour: Colour,
        /// The pool of device frames.
        hw_frames: Option<&'a HwFrames>,
    },
    /// Sound.
    Audio {
        /// The label.
        name: String,
        /// Sample format.
        format: SampleFormat,
        /// Samples per second.
        sample_rate: u32,
        /// Channels.
        layout: ChannelLayout,
        /// Base of the frames' times.
        time_base: (i32, i32),
    },
}

impl FilterInput<'_> {
    fn name(&self) -> &str {
        match self {
            FilterInput::Video { name, .. } | FilterInput::Audio { name, .. } => name,
        }
    }
}

/// What comes out of a graph under a label.
#[derive(Clone, Debug)]
pub struct FilterOutput {
    /// The label.
    pub name: String,
    /// Sound rather than pictures.
    pub audio: bool,
}

/// What a sink hands out.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputParams {
    /// Pictures.
    Video {
        /// Pixel format.
        format: PixelFormat,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Base of the frames' times.
        time_base: (i32, i32),
        /// Frames per second, `None` when variable.
        frame_rate: Option<(i32, i32)>,
        /// Sample (pixel) aspect ratio.
        sample_aspect: (i32, i32),
    },
    /// Sound.
    Audio {
        /// Sample format.
        format: SampleFormat,
        /// Samples per second.
        sample_rate: u32,
        /// Channels.
        layout: ChannelLayout,
        /// Base of the frames' times.
        time_base: (i32, i32),
    },
}

/// A configured graph. One thread at a time; slice-threaded filters use threads of the graph's own.
pub struct FilterGraph {
    raw: NonNull<raw::AVFilterGraph>,
    sources: Vec<*mut raw::AVFilterContext>,
    sinks: Vec<*mut raw::AVFilterContext>,
    _scope: Scoped,
}

// SAFETY: owned alone, sources and sinks with it; nothing in it is tied to a thread.
unsafe impl Send for FilterGraph {}

impl FilterGraph {
    /// Builds a graph from FFmpeg's notation. With one input and one output the labels may be left out of the text when
    /// they are called `in` and `out`. `threads` 0 = as many as cores; `device` is given to all filters that want one.
    ///
    /// # Errors
    /// `Invalid` for a bad text, unknown options, or labels left open; `Unsupported` for an unknown filter.
    pub fn new(
        description: &str,
        inputs: &[FilterInput<'_>],
        outputs: &[FilterOutput],
        threads: u32,
        device: Option<&HwDevice>,
    ) -> Result<FilterGraph> {
        raw::init();
        let text = c_string(description, "a filter graph")?;
        // SAFETY: returns NULL or a graph that we own.
        let graph = unsafe { raw::gsav_graph_alloc(i32::try_from(threads).unwrap_or(0)) };
        let raw = NonNull::new(graph).ok_or_else(|| Error::memory("allocate filter graph"))?;
        let mut graph = FilterGraph {
            raw,
            sources: Vec::new(),
            sinks: Vec::new(),
            _scope: Scoped::new(raw.as_ptr().cast_const().cast()),
        };
        let mut names = Vec::new();
        for input in inputs {
            let (source, name) = graph.source(input)?;
            graph.sources.push(source);
            names.push(name);
        }
        let mut sink_names = Vec::new();
        for output in outputs {
            let name = c_string(&output.name, "a filter label")?;
            let mut sink = ptr::null_mut();
            // SAFETY: our graph; a terminated string.
            let code = unsafe {
                raw::gsav_graph_sink(graph.raw.as_ptr(), output.audio.into(), name.as_ptr(), &mut sink)
            };
            check(code, format!("filter output {}", output.name))?;
            graph.sinks.push(sink);
            sink_names.push(name);
        }
        let labels: Vec<*const c_char> = names.iter().map(|n| n.as_ptr()).collect();
        let sink_labels: Vec<*const c_char> = sink_names.iter().map(|n| n.as_ptr()).collect();
        // SAFETY: all arrays have the lengths given; sources and sinks belong to the graph.
        let code = unsafe {
            raw::gsav_graph_build(
                graph.raw.as_ptr(),
                text.as_ptr(),
                graph.sources.as_ptr(),
                labels.as_ptr(),
                labels.len() as i32,
                graph.sinks.as_ptr(),
                sink_labels.as_ptr(),
                sink_labels.len() as i32,
                device.map_or(ptr::null_mut(), HwDevice::as_ptr),
            )
        };
        check(code, format!("filter graph {description:?}"))?;
        Ok(graph)
    }

    fn source(&mut self, input: &FilterInput<'_>) -> Result<(*mut raw::AVFilterContext, CString)> {
        let name = c_string(input.name(), "a filter label")?;
        let int = |n: u32| i32::try_from(n).unwrap_or(-1);
        let mut p = raw::FilterInput { name: name.as_ptr(), ..Default::default() };
        let mut channels = None;
        match input {
            FilterInput::Video {
                format,
                width,
                height,
                time_base,
                frame_rate,
                sample_aspect,
                colour,
                hw_frames,
                ..
            } => {
                let rate = frame_rate.unwrap_or((0, 1));
                p.format = format.0;
                (p.width, p.height) = (int(*width), int(*height));
                (p.tb_num, p.tb_den) = *time_base;
                (p.fr_num, p.fr_den) = rate;
                (p.sar_num, p.sar_den) = *sample_aspect;
                p.matrix = colour.matrix.into();
                p.range = hdr::range(colour.range);
                p.hw_frames = hw_frames.map_or(ptr::null_mut(), HwFrames::as_ptr);
            }
            FilterInput::Audio { format, sample_rate, layout, time_base, .. } => {
                p.audio = 1;
                p.format = format.0;
                p.sample_rate = int(*sample_rate);
                p.channels = int(layout.channels);
                (p.tb_num, p.tb_den) = *time_base;
                channels = c_option(Some(&layout.name), "a channel layout")?;
            }
        }
        p.layout = as_ptr(&channels);
        let mut source = ptr::null_mut();
        // SAFETY: our graph; the pointers in `p` live through the call.
        let code = unsafe { raw::gsav_graph_source(self.raw.as_ptr(), &p, &mut source) };
        check(code, format!("filter input {}", input.name()))?;
        Ok((source, name))
    }

    /// Feeds a frame (shared, not copied) to an input, or with `None` ends it.
    ///
    /// # Errors
    /// `Invalid` for an input that is not there or a frame that differs from its description in a way the graph cannot
    /// follow; `Eof` after the end; what a filter says.
    pub fn push(&mut self, input: usize, frame: Option<&Frame>) -> Result<()> {
        let source =
            *self.sources.get(input).ok_or_else(|| Error::invalid(format!("filter input {input}")))?;
        let frame = frame.map_or(ptr::null_mut(), Frame::as_ptr);
        // SAFETY: a source of our graph; NULL or a live frame, to which the graph takes a reference of its own.
        check(unsafe { raw::gsav_source_push(source, frame) }, "filter").map(drop)
    }

    /// The next frame of an output; `None` when it needs more input, or after the end ([`FilterGraph::pull_or_end`]
    /// tells the two apart).
    ///
    /// # Errors
    /// `Invalid` for an output that is not there; what a filter says.
    pub fn pull(&mut self, output: usize) -> Result<Option<Frame>> {
        match self.pull_or_end(output) {
            Err(e) if e.code == EOF => Ok(None),
            other => other,
        }
    }

    /// As [`FilterGraph::pull`], with `Eof` as an error.
    ///
    /// # Errors
    /// `Eof` when nothing more will come; else as [`FilterGraph::pull`].
    pub fn pull_or_end(&mut self, output: usize) -> Result<Option<Frame>> {
        let sink = self.sink(output)?;
        let mut frame = Frame::empty()?;
        // SAFETY: a sink of our graph and a blank frame.
        match unsafe { raw::gsav_sink_pull(sink, frame.as_ptr()) } {
            AGAIN => Ok(None),
            code if code < 0 => Err(Error::new(code, "filter")),
            _ => {
                frame.straighten()?;
                Ok(Some(frame))
            }
        }
    }

    fn sink(&self, output: usize) -> Result<*mut raw::AVFilterContext> {
        self.sinks.get(output).copied().ok_or_else(|| Error::invalid(format!("filter output {output}")))
    }

    /// What an output hands out.
    ///
    /// # Errors
    /// `Invalid` for an output that is not there.
    pub fn output(&self, output: usize) -> Result<OutputParams> {
        let sink = self.sink(output)?;
        let mut p = raw::SinkProps::default();
        // SAFETY: a sink of our configured graph; fills `p`.
        unsafe { raw::gsav_sink_get(sink, &mut p) };
        let time_base = (p.tb_num, p.tb_den);
        let count = |n: i32| n.max(0) as u32;
        if p.audio != 0 {
            let mut name = [0 as c_char; 256];
            // SAFETY: the buffer's length is passed and the text terminated.
            let name = unsafe {
                raw::gsav_sink_layout(sink, name.as_mut_ptr(), name.len());
                text(name.as_ptr())
            };
            return Ok(OutputParams::Audio {
                format: SampleFormat(p.format),
                sample_rate: count(p.sample_rate),
                layout: ChannelLayout { channels: count(p.channels), name },
                time_base,
            });
        }
        Ok(OutputParams::Video {
            format: PixelFormat(p.format),
            width: count(p.width),
            height: count(p.height),
            time_base,
            frame_rate: (p.fr_num > 0 && p.fr_den > 0).then_some((p.fr_num, p.fr_den)),
            sample_aspect: (p.sar_num, p.sar_den),
        })
    }

    /// The pool of an output's device frames.
    ///
    /// # Errors
    /// `Invalid` for an output that is not there.
    pub fn output_hw_frames(&self, output: usize) -> Result<Option<HwFrames>> {
        let sink = self.sink(output)?;
        // SAFETY: a sink of our configured graph; NULL or a new reference that is ours.
        Ok(unsafe { BufferRef::from_raw(raw::gsav_sink_hw_frames(sink)) }.map(HwFrames::from_buffer))
    }

    /// Makes an audio output hand out frames of exactly `samples` (the last may be shorter), as encoders want.
    ///
    /// # Errors
    /// `Invalid` for an output that is not there.
    pub fn set_frame_size(&mut self, output: usize, samples: usize) -> Result<()> {
        let sink = self.sink(output)?;
        let samples = u32::try_from(samples).map_err(|_| Error::invalid("audio frame size"))?;
        // SAFETY: a sink of our configured graph.
        unsafe { raw::gsav_sink_frame_size(sink, samples) };
        Ok(())
    }

    /// The input that outputs waited for most since it was last fed: the one to feed next.
    pub fn wanted_input(&self) -> Option<usize> {
        (0..self.sources.len())
            // SAFETY: sources of our graph; only reads.
            .map(|i| (i, unsafe { raw::gsav_source_failed_requests(self.sources[i]) }))
            .max_by_key(|(i, n)| (*n, std::cmp::Reverse(*i)))
            .map(|(i, _)| i)
    }

    /// Sends a command to filters: `target` is a filter's name, its instance (`Parsed_scale_0`, `scale@top`) or `all`.
    ///
    /// # Errors
    /// `Unsupported` when no such filter takes it; `Invalid` for a bad argument.
    pub fn send_command(&mut self, target: &str, command: &str, argument: &str) -> Result<String> {
        let (t, c) = (c_string(target, "a filter")?, c_string(command, "a command")?);
        let a = c_string(argument, "an argument")?;
        let mut out = [0 as c_char; 1024];
        // SAFETY: our graph; terminated strings; the buffer's length is passed.
        let code = unsafe {
            raw::gsav_graph_command(
                self.raw.as_ptr(),
                t.as_ptr(),
                c.as_ptr(),
                a.as_ptr(),
                out.as_mut_ptr(),
                out.len() as i32,
            )
        };
        check(code, format!("filter command {target} {command}"))?;
        // SAFETY: terminated by the call.
        Ok(unsafe { text(out.as_ptr()) })
    }
}

impl Drop for FilterGraph {
    fn drop(&mut self) {
        let mut graph = self.raw.as_ptr();
        // SAFETY: ours; freed once, sources and sinks with it.
        unsafe { raw::avfilter_graph_free(&mut graph) }
    }
}

impl std::fmt::Debug for FilterGraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilterGraph")
            .field("inputs", &self.sources.len())
            .field("outputs", &self.sinks.len())
            .finish()
    }
}
