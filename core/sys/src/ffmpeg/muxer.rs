//! Containers, writing: `AVFormatContext` of an output.

use super::demuxer::{Chapter, Disposition};
use super::dict::{Dict, Pairs};
use super::error::{Error, Kind, Result, as_ptr, c_option, c_string, check, text};
use super::interrupt::{Interrupt, Watch, interrupted};
use super::io::{Io, Output};
use super::log::Scoped;
use super::{CodecParameters, MediaType, Packet, ParameterValues, SideDataKind, memory, raw};
use bytes::Bytes;
use std::ptr;

/// What to write and where.
#[derive(Default)]
pub struct MuxerOptions {
    /// The muxer's name; `None` guesses from the URL.
    pub format: Option<String>,
    /// URL or path; with `io`, only a name.
    pub url: String,
    /// Writes here instead of to the URL.
    pub io: Option<Output>,
    /// Ends blocking calls.
    pub interrupt: Interrupt,
    /// Options of the protocol. What it did not want is handed on to [`Muxer::write_header`].
    pub io_options: Pairs,
}

/// How a stream is written, beyond its codec parameters.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// Wished seconds per tick; the muxer may choose another: see [`Muxer::stream_time_base`].
    pub time_base: (i32, i32),
    /// Average frame rate, where known.
    pub frame_rate: Option<(i32, i32)>,
    /// Sample aspect ratio, if it should differ from the parameters'.
    pub sample_aspect: Option<(i32, i32)>,
    /// Roles.
    pub disposition: Disposition,
    /// Tags (`language`, `title` …).
    pub metadata: Pairs,
    /// The container's id (PID, track id); 0 = the muxer chooses.
    pub id: i32,
    /// Keep the four-character code of the parameters even if this container does not list it for the codec.
    pub keep_codec_tag: bool,
}

/// What a container format wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FormatFlags {
    /// Codec set-up data belongs in the header: encoders must be opened with `global_header`.
    pub global_header: bool,
    /// It writes no file of its own (segmenters, devices).
    pub no_file: bool,
    /// Frames may come at a variable rate.
    pub variable_fps: bool,
    /// Timestamps are not needed.
    pub no_timestamps: bool,
    /// Equal timestamps are allowed (else they must rise strictly).
    pub non_strict_timestamps: bool,
    /// Negative timestamps are allowed.
    pub negative_timestamps: bool,
}

impl FormatFlags {
    fn from_raw(flags: i32) -> FormatFlags {
        FormatFlags {
            global_header: flags & 0x0040 != 0,
            no_file: flags & 0x0001 != 0,
            variable_fps: flags & 0x0400 != 0,
            no_timestamps: flags & 0x0080 != 0,
            non_strict_timestamps: flags & 0x20000 != 0,
            negative_timestamps: flags & 0x40000 != 0,
        }
    }
}

/// An output being written: streams, then the header, packets, the trailer. One thread at a time.
///
/// Dropping it without [`Muxer::write_trailer`] leaves what was written, unfinished.
pub struct Muxer {
    raw: *mut raw::AVFormatContext,
    io: Option<Io>,
    watch: Box<Watch>,
    format: String,
    inherited: Pairs,
    started: bool,
    finished: bool,
    packets: u64,
    _scope: Scoped,
}

// SAFETY: owned alone; what it points at is `Send`; libavformat ties nothing to a thread.
unsafe impl Send for Muxer {}

impl Muxer {
    /// Opens the target and chooses the format; nothing is written yet.
    ///
    /// # Errors
    /// `Unsupported`/`Invalid` when no format fits; what opening the URL says.
    pub fn create(options: MuxerOptions) -> Result<Muxer> {
        raw::init();
        let url = c_string(&options.url, "a URL")?;
        let format = c_option(options.format.as_deref(), "a format")?;
        let io = options.io.map(Io::output).transpose()?;
        let mut muxer = Muxer {
            raw: ptr::null_mut(),
            io,
            watch: Watch::new(options.interrupt),
            format: String::new(),
            inherited: Vec::new(),
            started: false,
            finished: false,
            packets: 0,
            _scope: Scoped::default(),
        };
        // SAFETY: terminated strings; the watch lives in `muxer`, longer than the context.
        let code = unsafe {
            raw::gsav_mux_alloc(
                &mut muxer.raw,
                as_ptr(&format),
                url.as_ptr(),
                interrupted,
                muxer.watch.as_opaque(),
            )
        };
        check(code, format!("choose a format for {}", options.format.as_deref().unwrap_or(&options.url)))?;
        muxer._scope = Scoped::new(muxer.raw.cast());
        // SAFETY: a live context; a static string.
        muxer.format = unsafe { text(raw::gsav_format_name(muxer.raw, 0)) };
        let mut pairs = Dict::from_pairs(&options.io_options)?;
        match &muxer.io {
            // SAFETY: the I/O lives in `muxer`, longer than the context.
            Some(io) => unsafe { raw::gsav_mux_set_io(muxer.raw, io.as_ptr()) },
            None => {
                muxer.watch.run(|| {
                    // SAFETY: a live context; a terminated string.
                    let code = unsafe { raw::gsav_mux_open_url(muxer.raw, url.as_ptr(), pairs.as_mut()) };
                    check(
                        code,
                        format!("create {}", options.url.strip_prefix("file:").unwrap_or(&options.url)),
                    )
                })?;
            }
        }
        muxer.inherited = pairs.pairs();
        Ok(muxer)
    }

    fn explain(&mut self, e: Error) -> Error {
        match &mut self.io {
            Some(io) if e.kind() != Kind::Cancelled => io.explain(e),
            _ => e,
        }
    }

    fn get(&self) -> raw::Format {
        let mut p = raw::Format::default();
        // SAFETY: a live context; fills `p`.
        unsafe { raw::gsav_format_get(self.raw, &mut p) };
        p
    }

    /// The muxer's name.
    pub fn format_name(&self) -> &str {
        &self.format
    }

    /// What the format wants.
    pub fn flags(&self) -> FormatFlags {
        FormatFlags::from_raw(self.get().flags)
    }

    fn not_started(&self, what: &str) -> Result<()> {
        if self.started {
            return Err(Error::invalid(format!("{what} after the header")));
        }
        Ok(())
    }

    /// Adds a stream and returns its index. Before the header only.
    ///
    /// # Errors
    /// `Invalid` after the header; `Memory`.
    pub fn add_stream(&mut self, params: &CodecParameters, options: &StreamOptions) -> Result<usize> {
        self.not_started("a stream")?;
        let rate = options.frame_rate.unwrap_or((0, 0));
        let aspect = options.sample_aspect.unwrap_or((0, 0));
        let s = raw::Stream {
            start: raw::NOPTS,
            duration: raw::NOPTS,
            id: options.id,
            tb_num: options.time_base.0,
            tb_den: options.time_base.1,
            avg_num: rate.0,
            avg_den: rate.1,
            sar_num: aspect.0,
            sar_den: aspect.1,
            disposition: options.disposition.0 as i32,
            ..Default::default()
        };
        // SAFETY: a live context and live parameters.
        let code =
            unsafe { raw::gsav_mux_add_stream(self.raw, params.as_ptr(), &s, options.keep_codec_tag.into()) };
        let index = check(code, "add stream")?;
        for (kind, data) in params.all_side_data() {
            // SAFETY: the stream exists; `len` bytes are copied.
            let code =
                unsafe { raw::gsav_mux_stream_side_data(self.raw, index, *kind, data.as_ptr(), data.len()) };
            check(code, "add stream side data")?;
        }
        for (key, value) in &options.metadata {
            let (key, value) = (c_string(key, "a tag")?, c_string(value, "a tag's value")?);
            // SAFETY: the stream exists; terminated strings.
            let code = unsafe { raw::gsav_mux_stream_tag(self.raw, index, key.as_ptr(), value.as_ptr()) };
            check(code, "set tag")?;
        }
        Ok(index as usize)
    }

    /// Adds a file (a font) as a stream. `codec` is FFmpeg's name (`ttf`, `otf`), or `none` for others by MIME type.
    ///
    /// # Errors
    /// As [`Muxer::add_stream`].
    pub fn add_attachment(&mut self, codec: &str, name: &str, mime: &str, data: Bytes) -> Result<usize> {
        let params = CodecParameters::new(&ParameterValues {
            kind: MediaType::Attachment,
            codec: codec.into(),
            extradata: data,
            ..Default::default()
        })?;
        let metadata = vec![("filename".into(), name.into()), ("mimetype".into(), mime.into())];
        self.add_stream(&params, &StreamOptions { time_base: (1, 90_000), metadata, ..Default::default() })
    }

    /// Sets tags of the container. Before the header.
    ///
    /// # Errors
    /// `Invalid` after the header or for text with a NUL.
    pub fn set_metadata(&mut self, metadata: &[(String, String)]) -> Result<()> {
        self.not_started("metadata")?;
        for (key, value) in metadata {
            let (key, value) = (c_string(key, "a tag")?, c_string(value, "a tag's value")?);
            // SAFETY: a live context; terminated strings.
            check(unsafe { raw::gsav_mux_tag(self.raw, key.as_ptr(), value.as_ptr()) }, "set tag")?;
        }
        Ok(())
    }

    /// Adds a chapter; of its tags the title is written. Before the header.
    ///
    /// # Errors
    /// `Invalid` after the header or without a time base; `Memory`.
    pub fn add_chapter(&mut self, chapter: &Chapter) -> Result<()> {
        self.not_started("a chapter")?;
        if chapter.time_base.0 <= 0 || chapter.time_base.1 <= 0 {
            return Err(Error::invalid("a chapter's time base"));
        }
        let title = chapter.metadata.iter().find(|(k, _)| k == "title").map(|(_, v)| v.as_str());
        let title = c_option(title, "a chapter title")?;
        let c = raw::Chapter {
            id: chapter.id,
            start: chapter.start,
            end: chapter.end,
            tb_num: chapter.time_base.0,
            tb_den: chapter.time_base.1,
        };
        // SAFETY: a live context; NULL or a terminated string.
        check(unsafe { raw::gsav_mux_add_chapter(self.raw, &c, as_ptr(&title)) }, "add chapter").map(drop)
    }

    /// Writes the header and returns the options that nobody wanted.
    ///
    /// # Errors
    /// `Invalid` for parameters that the format refuses; `Io`, `Cancelled`, `TimedOut`.
    pub fn write_header(&mut self, options: &[(String, String)]) -> Result<Pairs> {
        self.not_started("a header")?;
        let mut all = self.inherited.clone();
        all.extend_from_slice(options);
        let mut dict = Dict::from_pairs(&all)?;
        let context = format!("write {} header", self.format);
        // SAFETY: a live context.
        let done =
            self.watch.run(|| check(unsafe { raw::gsav_mux_header(self.raw, dict.as_mut()) }, context));
        done.map_err(|e| self.explain(e))?;
        self.started = true;
        Ok(dict.pairs())
    }

    /// Seconds per tick of a stream's packets, final after the header.
    ///
    /// # Errors
    /// `NotFound` for an index out of range.
    pub fn stream_time_base(&self, stream: usize) -> Result<(i32, i32)> {
        let mut s = raw::Stream::default();
        let i = i32::try_from(stream).unwrap_or(-1);
        // SAFETY: a live context; the call checks the index.
        check(unsafe { raw::gsav_stream_get(self.raw, i, &mut s) }, format!("stream {stream}"))?;
        Ok((s.tb_num, s.tb_den))
    }

    /// Writes a packet as it comes: packets of different streams must be interleaved already, times be in
    /// [`Muxer::stream_time_base`].
    ///
    /// # Errors
    /// `Invalid` before the header, for a bad stream index or times that do not rise; `Io`, `Cancelled`, `TimedOut`.
    pub fn write(&mut self, packet: Packet) -> Result<()> {
        self.put(packet, 0)
    }

    /// As [`Muxer::write`], but buffers packets until they are in order.
    ///
    /// # Errors
    /// As [`Muxer::write`].
    pub fn write_interleaved(&mut self, packet: Packet) -> Result<()> {
        self.put(packet, 1)
    }

    fn put(&mut self, packet: Packet, interleave: i32) -> Result<()> {
        if !self.started || self.finished {
            return Err(Error::invalid("a packet before the header or after the trailer"));
        }
        let stream = packet.stream_index();
        if stream >= self.get().streams.max(0) as usize {
            return Err(Error::invalid(format!("a packet for stream {stream}")));
        }
        // Its tables grow by less than this until it is asked again.
        const STEP: u64 = 1 << 16;
        if self.packets.is_multiple_of(STEP) {
            memory::allow_packets(self.packets + STEP);
        }
        self.packets += 1;
        let context = format!("write {} packet", self.format);
        // SAFETY: the header is written; the packet is live and its stream exists.
        let done = self
            .watch
            .run(|| check(unsafe { raw::gsav_mux_write(self.raw, packet.as_ptr(), interleave) }, context));
        done.map(drop).map_err(|e| self.explain(e))
    }

    /// Pushes out what the muxer and its I/O hold back.
    ///
    /// # Errors
    /// `Io`, `Cancelled`, `TimedOut`.
    pub fn flush(&mut self) -> Result<()> {
        if !self.started || self.finished {
            return Ok(());
        }
        // SAFETY: the header is written.
        let done = self.watch.run(|| check(unsafe { raw::gsav_mux_flush(self.raw) }, "flush"));
        done.map(drop).map_err(|e| self.explain(e))
    }

    /// Writes what ends the file. Once, after the header.
    ///
    /// # Errors
    /// `Invalid` out of order; `Io`, `Cancelled`, `TimedOut`.
    pub fn write_trailer(&mut self) -> Result<()> {
        if !self.started || self.finished {
            return Err(Error::invalid("a trailer before the header or twice"));
        }
        self.finished = true;
        let context = format!("finish {}", self.format);
        // SAFETY: the header is written, and this runs once.
        let done = self.watch.run(|| check(unsafe { raw::gsav_mux_trailer(self.raw) }, context));
        done.map_err(|e| self.explain(e))?;
        Ok(())
    }

    /// Closes the target and says whether that worked (a full disk shows here). Dropping closes too, silently.
    ///
    /// # Errors
    /// `Io`.
    pub fn close(mut self) -> Result<()> {
        // SAFETY: ours; NULL afterwards, so that drop does nothing.
        let code = self.watch.run(|| check(unsafe { raw::gsav_mux_close(&mut self.raw) }, "close"));
        code.map(drop)
    }

    /// Bytes written so far, where there is one target.
    pub fn position(&self) -> Option<u64> {
        // SAFETY: a live context.
        u64::try_from(unsafe { raw::gsav_mux_position(self.raw) }).ok()
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        // SAFETY: NULL or ours; closed once, before the I/O and the watch under it.
        unsafe { raw::gsav_mux_close(&mut self.raw) };
    }
}

impl std::fmt::Debug for Muxer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Muxer").field("format", &self.format).field("started", &self.started).finish()
    }
}

/// What the muxer called `format` wants; `None` when there is no such muxer.
pub fn format_flags(format: &str) -> Option<FormatFlags> {
    let format = std::ffi::CString::new(format).ok()?;
    // SAFETY: a terminated string.
    let flags = unsafe { raw::gsav_muxer_flags(format.as_ptr()) };
    (flags >= 0).then(|| FormatFlags::from_raw(flags))
}

/// Whether the muxer `format` takes `codec`; `None` when it does not say, or either is unknown.
pub fn query_codec(format: &str, codec: &str) -> Option<bool> {
    let (format, codec) = (std::ffi::CString::new(format).ok()?, std::ffi::CString::new(codec).ok()?);
    // SAFETY: terminated strings.
    match unsafe { raw::gsav_mux_query(format.as_ptr(), raw::gsav_codec_id(codec.as_ptr())) } {
        1 => Some(true),
        0 => Some(false),
        _ => None,
    }
}

/// The codec that the muxer `format` takes by default for streams of `kind`.
pub fn default_codec(format: &str, kind: MediaType) -> Option<String> {
    let format = std::ffi::CString::new(format).ok()?;
    // SAFETY: a terminated string; the name is static.
    let (id, name) = unsafe {
        let id = raw::gsav_mux_default_codec(format.as_ptr(), kind.to_raw());
        (id, text(raw::gsav_codec_name(id)))
    };
    (id > 0).then_some(name)
}

impl Packet {
    /// Replaces the extradata of the stream from this packet on.
    ///
    /// # Errors
    /// `Memory`.
    pub fn set_new_extradata(&mut self, data: &[u8]) -> Result<()> {
        self.add_side_data(SideDataKind::NewExtradata.number(), data)
    }
}
