//! Containers, reading: `AVFormatContext` of an input.

use super::dict::{self, Dict, Pairs};
use super::error::{BACKWARDS, EOF, EXIT, Error, Kind, Result, c_option, c_string, check, text};
use super::interrupt::{Interrupt, Permit, Watch, asked, interrupted};
use super::io::{Input, Io};
use super::log::{Complaints, Scoped, listen};
use super::packet::time;
use super::{CodecParameters, MediaType, Packet, raw};
use bytes::Bytes;
use std::ptr;
use std::time::Duration;

/// What to open and how. `DemuxerOptions { url, ..Default::default() }`.
pub struct DemuxerOptions {
    /// URL or path; with `io`, only a name that may help to tell the format.
    pub url: String,
    /// The demuxer's name; `None` probes.
    pub format: Option<String>,
    /// Options of the demuxer and its protocols.
    pub options: Pairs,
    /// Protocols that may be used, also by nested references; `None`: FFmpeg's default.
    pub protocol_whitelist: Option<Vec<String>>,
    /// Demuxers that may be used, also by nested references; `None`: all.
    pub format_whitelist: Option<Vec<String>>,
    /// Ends blocking calls.
    pub interrupt: Interrupt,
    /// Asked before an address is opened for the source; a refusal ends the call with `Denied` and its reason. `None`:
    /// everything that the protocols allow.
    pub permit: Option<Permit>,
    /// Reads from here instead of from the URL.
    pub io: Option<Input>,
    /// Bytes to look at before the streams must be known; `None`: FFmpeg's 5 MB.
    pub probe_size: Option<u64>,
    /// How much media to look at; `None`: FFmpeg's default.
    pub analyze_duration: Option<Duration>,
    /// Decode a little to learn what headers do not say. Off for the lowest delay.
    pub find_stream_info: bool,
}

impl Default for DemuxerOptions {
    fn default() -> Self {
        DemuxerOptions {
            url: String::new(),
            format: None,
            options: Vec::new(),
            protocol_whitelist: None,
            format_whitelist: None,
            interrupt: Interrupt::new(),
            permit: None,
            io: None,
            probe_size: None,
            analyze_duration: None,
            find_stream_info: true,
        }
    }
}

/// One stream of a container, in plain values. Times count in `time_base`.
#[derive(Clone, Debug)]
pub struct StreamDesc {
    /// Position in the container.
    pub index: usize,
    /// The container's own id (PID, track id).
    pub id: i32,
    /// How it is coded.
    pub params: CodecParameters,
    /// Seconds per tick (numerator, denominator).
    pub time_base: (i32, i32),
    /// First presentation time.
    pub start: Option<i64>,
    /// Length.
    pub duration: Option<i64>,
    /// Number of frames, 0 when unknown.
    pub frames: u64,
    /// Average frame rate, 0/x when unknown.
    pub avg_frame_rate: (i32, i32),
    /// The lowest rate that all timestamps fit; a guess.
    pub r_frame_rate: (i32, i32),
    /// FFmpeg's guess of the real frame rate from the two above and the codec.
    pub guessed_frame_rate: (i32, i32),
    /// Sample aspect ratio of the container, 0/x when unknown.
    pub sample_aspect: (i32, i32),
    /// Roles.
    pub disposition: Disposition,
    /// Tags.
    pub metadata: Pairs,
    /// Whether packets are thrown away.
    pub discard: bool,
    /// Ids of the programs that it belongs to.
    pub programs: Vec<i32>,
}

/// Roles of a stream (`AV_DISPOSITION_*` bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Disposition(pub u32);

macro_rules! roles {
    ($($(#[$meta:meta])* $name:ident = $bit:literal,)*) => {
        impl Disposition {
            $($(#[$meta])* pub const $name: Disposition = Disposition($bit);)*
        }
    };
}

roles! {
    /// The stream to choose by default.
    DEFAULT = 0x0001,
    /// A dub.
    DUB = 0x0002,
    /// In the original language.
    ORIGINAL = 0x0004,
    /// Commentary.
    COMMENT = 0x0008,
    /// Lyrics.
    LYRICS = 0x0010,
    /// Karaoke.
    KARAOKE = 0x0020,
    /// Subtitles to be shown always.
    FORCED = 0x0040,
    /// For the hard of hearing.
    HEARING_IMPAIRED = 0x0080,
    /// For the visually impaired (audio description).
    VISUAL_IMPAIRED = 0x0100,
    /// Cover art.
    ATTACHED_PICTURE = 0x0400,
    /// Captions.
    CAPTIONS = 0x10000,
    /// Descriptions.
    DESCRIPTIONS = 0x20000,
    /// Timed metadata.
    METADATA = 0x40000,
    /// A still image.
    STILL_IMAGE = 0x100000,
}

impl Disposition {
    /// Whether all roles of `other` are set.
    pub fn contains(self, other: Disposition) -> bool {
        self.0 & other.0 == other.0
    }

    /// These roles and those of `other`.
    pub fn with(self, other: Disposition) -> Disposition {
        Disposition(self.0 | other.0)
    }
}

/// A chapter mark; times count in `time_base`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// The container's id.
    pub id: i64,
    /// Start.
    pub start: i64,
    /// End.
    pub end: i64,
    /// Seconds per tick.
    pub time_base: (i32, i32),
    /// Tags (`title` …).
    pub metadata: Pairs,
}

/// A program: the streams that belong to each other where there are several of them (MPEG-TS, the variants of HLS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The container's id (MPEG-TS: `program_number`).
    pub id: i32,
    /// Indexes of its streams.
    pub streams: Vec<usize>,
    /// Tags (`service_name`, `service_provider` …).
    pub metadata: Pairs,
}

/// An opened input. One thread at a time; blocking calls end through its [`Interrupt`].
pub struct Demuxer {
    raw: *mut raw::AVFormatContext,
    io: Option<Io>,
    watch: Box<Watch>,
    unused: Pairs,
    /// Bytes that FFmpeg's own transport announced; negative for none, and for what is not its own. Asked at once: a
    /// reconnect that fails forgets it.
    length: i64,
    backwards: bool,
    /// It may end before that: FFmpeg was told to, or deciphers, which takes the padding off.
    may_end_before: bool,
    complaints: Complaints,
    /// Streams of DASH that ended before the rest.
    over: Vec<usize>,
    _scope: Scoped,
}

// SAFETY: owned alone; what it points at (I/O, interrupt) is `Send`; libavformat ties nothing to a thread.
unsafe impl Send for Demuxer {}

impl Demuxer {
    /// Opens an input, and by default reads enough of it to know its streams.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `InvalidData` (not a format we know), `Unsupported` (protocol or demuxer missing or not
    /// allowed), `Cancelled`, `TimedOut`, `Io`; `Backwards` for an MP4 that this transport cannot play. Options that nobody wanted are no error: see [`Demuxer::unused_options`].
    pub fn open(options: DemuxerOptions) -> Result<Demuxer> {
        raw::init();
        let url = c_string(&options.url, "a URL")?;
        let format = c_option(options.format.as_deref(), "a format")?;
        let mut pairs = Dict::from_pairs(&options.options)?;
        let lists = [
            ("protocol_whitelist", &options.protocol_whitelist),
            ("format_whitelist", &options.format_whitelist),
        ];
        for (key, list) in lists {
            if let Some(list) = list {
                pairs.set(key, &list.join(","))?;
            }
        }
        if let Some(size) = options.probe_size {
            // Below 32 bytes FFmpeg refuses.
            pairs.set("probesize", &size.clamp(32, i64::MAX as u64).to_string())?;
        }
        if let Some(duration) = options.analyze_duration {
            pairs.set("analyzeduration", &duration.as_micros().min(i64::MAX as u128).to_string())?;
        }
        let io = options.io.map(Io::input).transpose()?;
        let watch = Watch::with_permit(options.interrupt, options.permit);
        let mut backwards = 0;
        let name = format!("open {}", options.url);
        let mut demuxer = Demuxer {
            raw: ptr::null_mut(),
            io,
            watch,
            unused: Vec::new(),
            length: -1,
            backwards: false,
            may_end_before: options.url.starts_with("crypto")
                || options.options.iter().any(|(k, _)| k == "offset" || k == "end_offset"),
            complaints: Complaints::default(),
            over: Vec::new(),
            _scope: Scoped::default(),
        };
        let pb = demuxer.io.as_ref().map_or(ptr::null_mut(), Io::as_ptr);
        let opened = demuxer.watch.run(|| {
            // SAFETY: terminated strings; the I/O and the watch live in `demuxer`, longer than the context.
            let code = unsafe {
                raw::gsav_demux_open(
                    &mut demuxer.raw,
                    url.as_ptr(),
                    super::error::as_ptr(&format),
                    pb,
                    interrupted,
                    asked,
                    demuxer.watch.as_opaque(),
                    &mut backwards,
                    pairs.as_mut(),
                )
            };
            check(if backwards == 1 { BACKWARDS } else { code }, name.clone())
        });
        demuxer.backwards = backwards == 2;
        opened.map_err(|e| demuxer.explain(e))?;
        demuxer._scope = Scoped::new(demuxer.raw.cast());
        demuxer.unused = pairs.pairs();
        if demuxer.io.is_none() {
            // SAFETY: an opened context.
            demuxer.length = unsafe { raw::gsav_demux_length(demuxer.raw) };
        }
        if options.find_stream_info {
            let found = demuxer.watch.run(|| {
                // SAFETY: an opened context.
                check(unsafe { raw::gsav_demux_find_info(demuxer.raw) }, format!("read {}", options.url))
            });
            found.map_err(|e| demuxer.explain(e))?;
        }
        demuxer.whole()?;
        Ok(demuxer)
    }

    fn explain(&mut self, e: Error) -> Error {
        match &mut self.io {
            Some(io) if e.kind() != Kind::Cancelled => io.explain(e),
            _ => e,
        }
    }

    /// That the object under it has not failed while FFmpeg went on.
    fn whole(&mut self) -> Result<()> {
        let failed = self.io.as_mut().map_or(Ok(()), Io::failure);
        // An object may fail because it is not wanted any more.
        if failed.is_err() && self.watch.is_cancelled() { Err(Error::new(EXIT, "read")) } else { failed }
    }

    /// Options that neither the demuxer nor its protocols consumed.
    pub fn unused_options(&self) -> &[(String, String)] {
        &self.unused
    }

    fn get(&self) -> raw::Format {
        let mut p = raw::Format::default();
        // SAFETY: an opened context; fills `p`.
        unsafe { raw::gsav_format_get(self.raw, &mut p) };
        p
    }

    /// Short name or names of the format (`mov,mp4,m4a,3gp,3g2,mj2`).
    pub fn format_name(&self) -> String {
        // SAFETY: an opened context; a static string.
        unsafe { text(raw::gsav_format_name(self.raw, 0)) }
    }

    /// Human-readable name of the format.
    pub fn format_long_name(&self) -> String {
        // SAFETY: an opened context; a static string.
        unsafe { text(raw::gsav_format_name(self.raw, 1)) }
    }

    /// Number of streams seen so far; some formats find more while reading.
    pub fn stream_count(&self) -> usize {
        self.get().streams.max(0) as usize
    }

    /// All streams seen so far.
    ///
    /// # Errors
    /// `Memory`.
    pub fn streams(&self) -> Result<Vec<StreamDesc>> {
        (0..self.stream_count()).map(|i| self.stream(i)).collect()
    }

    /// One stream.
    ///
    /// # Errors
    /// `NotFound` for an index out of range; `Memory`.
    pub fn stream(&self, index: usize) -> Result<StreamDesc> {
        let i = i32::try_from(index).unwrap_or(-1);
        let mut s = raw::Stream::default();
        // SAFETY: an opened context; the call checks the index, so the ones below can rely on it.
        check(unsafe { raw::gsav_stream_get(self.raw, i, &mut s) }, format!("stream {index}"))?;
        // SAFETY: the stream exists; its parameters and tags belong to the context.
        let (mut params, metadata) = unsafe {
            (
                CodecParameters::copied(raw::gsav_stream_params(self.raw, i))?,
                dict::read(raw::gsav_stream_metadata(self.raw, i)),
            )
        };
        // SAFETY: the stream exists; the call checks the piece's index.
        params.collect(|n, kind, size| unsafe { raw::gsav_stream_side_data(self.raw, i, n, kind, size) });
        let mut guess = (0, 1);
        // SAFETY: as above.
        unsafe { raw::gsav_guess_frame_rate(self.raw, i, &mut guess.0, &mut guess.1) };
        Ok(StreamDesc {
            programs: (0..).map_while(|n| self.program(i, n)).map(|p| p.id).collect(),
            index,
            id: s.id,
            params,
            time_base: (s.tb_num, s.tb_den),
            start: time(s.start),
            duration: time(s.duration),
            frames: s.frames.max(0) as u64,
            avg_frame_rate: (s.avg_num, s.avg_den),
            r_frame_rate: (s.r_num, s.r_den),
            guessed_frame_rate: guess,
            sample_aspect: (s.sar_num, s.sar_den),
            disposition: Disposition(s.disposition as u32),
            metadata,
            discard: s.discard >= 48,
        })
    }

    /// The encoded picture that is the whole of stream `index`, where it is one: cover art.
    pub fn attached_picture(&self, index: usize) -> Option<Bytes> {
        let mut size = 0usize;
        // SAFETY: an opened context; the call checks the index.
        let data = unsafe { raw::gsav_stream_picture(self.raw, i32::try_from(index).ok()?, &mut size) };
        // SAFETY: `size` bytes that belong to the context, copied here.
        (!data.is_null()).then(|| Bytes::copy_from_slice(unsafe { std::slice::from_raw_parts(data, size) }))
    }

    /// Chapter marks.
    pub fn chapters(&self) -> Vec<Chapter> {
        (0..self.get().chapters)
            .filter_map(|i| {
                let mut c = raw::Chapter::default();
                let mut meta = ptr::null();
                // SAFETY: an opened context; the call checks the index.
                if unsafe { raw::gsav_chapter_get(self.raw, i, &mut c, &mut meta) } < 0 {
                    return None;
                }
                Some(Chapter {
                    id: c.id,
                    start: c.start,
                    end: c.end,
                    time_base: (c.tb_num, c.tb_den),
                    // SAFETY: belongs to the chapter.
                    metadata: unsafe { dict::read(meta) },
                })
            })
            .collect()
    }

    /// Programs, in the container's order.
    pub fn programs(&self) -> Vec<Program> {
        (0..).map_while(|n| self.program(-1, n)).collect()
    }

    /// The `n`th program of those that `stream` belongs to; −1: of all.
    fn program(&self, stream: i32, n: i32) -> Option<Program> {
        let (mut id, mut count) = (0, 0);
        let (mut streams, mut meta) = (ptr::null(), ptr::null());
        // SAFETY: an opened context; the call checks stream and number.
        let code = unsafe {
            raw::gsav_program_get(self.raw, stream, n, &mut id, &mut streams, &mut count, &mut meta)
        };
        if code < 0 {
            return None;
        }
        let streams = match streams.is_null() {
            true => &[],
            // SAFETY: belongs to the program, which has so many.
            false => unsafe { std::slice::from_raw_parts(streams, count as usize) },
        };
        Some(Program {
            id,
            streams: streams.iter().map(|index| *index as usize).collect(),
            // SAFETY: belongs to the program.
            metadata: unsafe { dict::read(meta) },
        })
    }

    /// Tags of the container.
    pub fn metadata(&self) -> Pairs {
        // SAFETY: an opened context.
        unsafe { dict::read(raw::gsav_format_metadata(self.raw)) }
    }

    /// Length in microseconds.
    pub fn duration(&self) -> Option<i64> {
        time(self.get().duration)
    }

    /// First presentation time in microseconds.
    pub fn start_time(&self) -> Option<i64> {
        time(self.get().start)
    }

    /// Bits per second over all streams, where known.
    pub fn bit_rate(&self) -> Option<u64> {
        u64::try_from(self.get().bit_rate).ok().filter(|r| *r > 0)
    }

    /// Gives packets without a presentation time the one that follows from the decode times after them.
    pub fn generate_times(&mut self) {
        // SAFETY: an opened context.
        unsafe { raw::gsav_demux_generate_times(self.raw) }
    }

    /// Whether the bytes under it can be sought.
    pub fn is_seekable(&self) -> bool {
        self.get().seekable != 0
    }

    /// Whether it is an MP4 whose index lies behind its media, and its bytes come once: only a short one can be read.
    pub fn is_backwards(&self) -> bool {
        self.backwards
    }

    /// Whether its bytes come once, one after another: a pipe, a server without ranges. Seeking then fails at best; some
    /// demuxers lose their place.
    pub fn is_streamed(&self) -> bool {
        self.get().streamed != 0
    }

    /// Whether the format allows times that begin anew or leap in the middle (`AVFMT_TS_DISCONT`): MPEG-TS and PS, playlists, Ogg.
    pub fn times_may_jump(&self) -> bool {
        self.get().flags & 0x0200 != 0
    }

    /// Goes to `ts`: in the time base of `stream`, or in microseconds with `None`. `backward` lands on the key frame at
    /// or before, else at or after.
    ///
    /// # Errors
    /// `Invalid`/`Io`/`Other` when the format or the transport cannot seek; `Cancelled`, `TimedOut`.
    pub fn seek(&mut self, stream: Option<usize>, ts: i64, backward: bool) -> Result<()> {
        let index = stream.map_or(Ok(-1), |s| {
            i32::try_from(s).ok().filter(|_| s < self.stream_count()).ok_or(Error::invalid("stream index"))
        })?;
        self.words_come_again()?;
        // What failed elsewhere does not matter there.
        if let Some(io) = &mut self.io {
            io.forget();
        }
        // SAFETY: an opened context; the index is -1 or in range.
        let done = self
            .watch
            .run(|| check(unsafe { raw::gsav_demux_seek(self.raw, index, ts, backward.into(), 0) }, "seek"));
        done.map(drop).map_err(|e| self.explain(e))
    }

    /// Goes back to the first packet.
    ///
    /// # Errors
    /// As [`Demuxer::seek`].
    pub fn rewind(&mut self) -> Result<()> {
        self.words_come_again()?;
        if let Some(io) = &mut self.io {
            io.forget();
        }
        // SAFETY: an opened context.
        let done = self.watch.run(|| check(unsafe { raw::gsav_demux_rewind(self.raw) }, "rewind"));
        done.map(drop).map_err(|e| self.explain(e))
    }

    /// The index that the format has of a stream: a time in the stream's base (presentation times in Matroska, decode
    /// times in MP4) and whether decoding can start there. Empty where there is none, or none yet: Matroska reads its
    /// own with the first seek.
    pub fn index(&self, stream: usize) -> Vec<(i64, bool)> {
        let i = i32::try_from(stream).unwrap_or(-1);
        let mut out = Vec::new();
        let (mut time, mut key) = (0, 0);
        for n in 0.. {
            // SAFETY: an opened context; the call checks both indices.
            if unsafe { raw::gsav_stream_index(self.raw, i, n, &mut time, &mut key) } == 0 {
                break;
            }
            out.push((time, key != 0));
        }
        out
    }

    /// The next packet of any stream that is not discarded; `None` at the end.
    ///
    /// # Errors
    /// `Cancelled`, `TimedOut`, `InvalidData`, `Io`; `Again` from live devices that have nothing yet.
    pub fn read(&mut self) -> Result<Option<Packet>> {
        let packet = Packet::new()?;
        let length = if self.may_end_before { -1 } else { self.length };
        let read = listen(self.raw.cast(), &mut self.complaints, || {
            self.watch.run(|| {
                // SAFETY: an opened context and a blank packet.
                check(unsafe { raw::gsav_demux_read(self.raw, length, packet.as_ptr()) }, "read packet")
            })
        });
        match read {
            Ok(_) => Ok(Some(packet)),
            Err(e) if e.code == EOF && self.words_are_over()? => self.read(),
            Err(e) if e.code == EOF => self.whole().map(|()| None),
            Err(e) => Err(self.explain(e)),
        }
    }

    /// FFmpeg takes the end of any of DASH's streams for the end of all, and words that are one file end when the last has
    /// been read: `true` when they have, and there may be more of the rest.
    fn words_are_over(&mut self) -> Result<bool> {
        if self.format_name() != "dash" {
            return Ok(false);
        }
        let wanted: Vec<_> = self.streams()?.into_iter().filter(|s| !s.discard).collect();
        let (words, rest): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|s| s.params.values().kind == MediaType::Subtitle);
        if words.is_empty() || rest.is_empty() {
            return Ok(false);
        }
        for stream in &words {
            self.set_discard(stream.index, true)?;
            self.over.push(stream.index);
        }
        Ok(true)
    }

    /// Elsewhere there are words again.
    fn words_come_again(&mut self) -> Result<()> {
        std::mem::take(&mut self.over).into_iter().try_for_each(|stream| self.set_discard(stream, false))
    }

    /// Whether `e`, which [`Demuxer::read`] returned, may be nothing but the other side hanging up on a transport that has
    /// announced no length: the end, as far as anyone can tell.
    pub fn is_hanging_up(&self, e: &Error) -> bool {
        e.code == -libc::EIO && self.io.is_none() && self.length < 0
    }

    /// What the demuxer complained of while reading packets: the places where the container is damaged.
    pub fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    /// Throws away (or stops throwing away) the packets of a stream, where the format can without reading them.
    ///
    /// # Errors
    /// `NotFound` for an index out of range.
    pub fn set_discard(&mut self, stream: usize, discard: bool) -> Result<()> {
        const ALL: i32 = 48;
        let i = i32::try_from(stream).unwrap_or(-1);
        // SAFETY: an opened context; the call checks the index.
        let code = unsafe { raw::gsav_stream_set_discard(self.raw, i, if discard { ALL } else { 0 }) };
        check(code, format!("stream {stream}")).map(drop)
    }
}

impl Drop for Demuxer {
    fn drop(&mut self) {
        // SAFETY: NULL or ours; closed once, before the I/O and the watch under it.
        unsafe { raw::gsav_demux_close(&mut self.raw) }
    }
}

impl std::fmt::Debug for Demuxer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demuxer")
            .field("format", &self.format_name())
            .field("streams", &self.stream_count())
            .finish()
    }
}
