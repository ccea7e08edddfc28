//! Decoding a container: packets to the two tracks, frames out by time, and seeking that is exact to the frame.

use super::ReaderOptions;
use super::track::{MAX_DELAY, Track};
use crate::error::{Error, ErrorKind, Result};
use crate::frame::Frame;
use crate::packet::{MediaKind, StreamInfo};
use crate::probe::{self, Probe};
use crate::source::index::{Index, Key, Seen, doubtful};
use crate::source::open::{open_content, reading};
use crate::source::scan::scan_stream;
use crate::source::seek::{Places, Seeker};
use crate::source::{Content, Interrupt};
use crate::spec::SourceSpec;
use crate::time::{Rational, Rounding, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;
use std::collections::HashSet;
use std::ops::Range;

/// Frames that one track may be ahead while the other has none: pictures are large.
const AHEAD_VIDEO: usize = 12;
const AHEAD_AUDIO: usize = 256;
/// A time this close after the present one is reached by decoding on, without a seek (seconds).
const NEAR: f64 = 1.0;
/// Key frames tried, the nearest first, before a seek begins at the beginning.
const KEYS: usize = 4;
/// Packets that show whether a container has presentation times.
const FEW: u32 = 8;

pub(super) struct Media {
    spec: SourceSpec,
    /// The bytes, where the application has them.
    content: Option<Content>,
    interrupt: Interrupt,
    /// Threads of a decoder.
    threads: u32,
    demuxer: av::Demuxer,
    streams: Vec<StreamInfo>,
    video: Option<Track>,
    audio: Option<Track>,
    /// All packets were read and the decoders drained.
    drained: bool,
    /// The application's bytes could not be read where reading stands.
    broken: bool,
    /// The picture handed out last, and the end of the sound handed out last (seconds).
    last: Option<Frame>,
    heard: f64,
    /// The time of the packet of pictures read last.
    fed: Option<i64>,
    /// Packets of pictures seen.
    seen: u32,
    index: Option<Index>,
}

impl Media {
    pub(super) fn open(
        spec: &SourceSpec,
        content: Option<Content>,
        options: &ReaderOptions,
        interrupt: &Interrupt,
    ) -> Result<(Self, Probe)> {
        let demuxer = open_content(spec, content.as_ref(), interrupt)?;
        let mut streams = probe::infos(&demuxer)?;
        crate::source::exif::turn(spec, &mut streams);
        let info = probe::of_demuxer(spec, content.as_ref(), &demuxer, &streams);
        let device = spec.decode.device;
        let threads = if options.threads > 0 { options.threads } else { spec.decode.threads };
        let track = |wanted: bool, kind: MediaKind, index: Option<usize>| -> Result<Option<Track>> {
            let Some(info) = choose(spec, &streams, wanted, kind, index)? else { return Ok(None) };
            Track::new(info, threads, device).map(Some).map_err(|e| e.context(spec.label()))
        };
        let video = track(options.video, MediaKind::Video, options.video_stream)?;
        let audio = track(options.audio, MediaKind::Audio, options.audio_stream)?;
        if video.is_none() && audio.is_none() {
            let what = match (options.video, options.audio) {
                (true, false) => "no pictures",
                (false, true) => "no sound",
                (true, true) => "neither pictures nor sound",
                (false, false) => {
                    return Err(Error::invalid("video", "video, audio or both must be asked for"));
                }
            };
            return Err(Error::new(ErrorKind::NotFound, format!("{}: has {what}", spec.label())));
        }
        let mut media = Media {
            spec: spec.clone(),
            content,
            interrupt: interrupt.clone(),
            threads,
            demuxer,
            streams,
            video,
            audio,
            drained: false,
            broken: false,
            last: None,
            heard: f64::NEG_INFINITY,
            fed: None,
            seen: 0,
            index: None,
        };
        media.discard_others()?;
        Ok((media, info))
    }

    fn discard_others(&mut self) -> Result<()> {
        let wanted = |t: &Option<Track>, i| t.as_ref().is_some_and(|t| t.stream == i);
        for i in 0..self.demuxer.stream_count() {
            self.demuxer.set_discard(i, !wanted(&self.video, i) && !wanted(&self.audio, i))?;
        }
        Ok(())
    }

    /// The next frame by time; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            let full = |t: &Track| {
                t.ready.len() >= if t.kind == MediaKind::Video { AHEAD_VIDEO } else { AHEAD_AUDIO }
            };
            let video_first = match (&self.video, &self.audio) {
                (Some(v), Some(a)) => match (v.head(), a.head()) {
                    (Some(v), Some(a)) => Some(v <= a),
                    (Some(_), None) if self.drained || full(v) => Some(true),
                    (None, Some(_)) if self.drained || full(a) => Some(false),
                    _ => None,
                },
                (Some(v), None) => v.head().map(|_| true),
                (None, Some(a)) => a.head().map(|_| false),
                (None, None) => return Ok(None),
            };
            let track = match video_first {
                Some(true) => &mut self.video,
                Some(false) => &mut self.audio,
                None if self.drained => return self.end(),
                None => {
                    self.pump()?;
                    continue;
                }
            };
            let frame = track.as_mut().and_then(|t| t.ready.pop_front());
            match &frame {
                Some(f) if f.is_video() => self.last = Some(f.clone()),
                Some(f) => self.heard = f.end().map_or(self.heard, |t| t.seconds()),
                None => {}
            }
            return Ok(frame);
        }
    }

    /// The end is no error, unless not one packet could be decoded.
    fn end(&self) -> Result<Option<Frame>> {
        let dead = |t: &&Track| t.damaged > 0 && !t.alive;
        if let Some(track) = self.video.iter().chain(&self.audio).find(dead) {
            return Err(Error::new(
                ErrorKind::Format,
                format!("{}: nothing in stream {} could be decoded", self.spec.label(), track.stream),
            ));
        }
        Ok(None)
    }

    /// Reads a packet and decodes it; at the end drains the decoders.
    fn pump(&mut self) -> Result<()> {
        match self.read()? {
            Some(packet) => self.decode(&packet),
            None => self.drain(),
        }
    }

    fn drain(&mut self) -> Result<()> {
        self.drained = true;
        self.video.iter_mut().chain(&mut self.audio).try_for_each(|track| track.feed(None))
    }

    fn read(&mut self) -> Result<Option<av::Packet>> {
        loop {
            if self.interrupt.is_cancelled() {
                return Err(Error::cancelled());
            }
            match self.demuxer.read() {
                Ok(packet) => return Ok(packet),
                Err(e) => match e.kind() {
                    av::Kind::Cancelled => return Err(Error::cancelled()),
                    av::Kind::Again => std::thread::sleep(std::time::Duration::from_millis(2)),
                    // The demuxer has lost its way in damaged data: what was read is what there is.
                    av::Kind::InvalidData => return Ok(None),
                    _ if self.demuxer.is_hanging_up(&e) => return Ok(None),
                    _ if e.is_of_the_object() => {
                        // Reading on leads nowhere; seeking begins anew.
                        (self.broken, self.last) = (true, None);
                        return Err(reading(&self.spec.label(), self.spec.timeout, e));
                    }
                    _ => return Err(reading(&self.spec.label(), self.spec.timeout, e)),
                },
            }
        }
    }

    fn decode(&mut self, packet: &av::Packet) -> Result<()> {
        let index = packet.stream_index();
        for track in self.video.iter_mut().chain(&mut self.audio) {
            if track.stream == index {
                if track.kind == MediaKind::Video {
                    self.fed = packet.pts().or(self.fed);
                    self.seen += 1;
                }
                return track.feed(Some(packet));
            }
        }
        Ok(())
    }

    /// Empties everything after the demuxer was moved.
    fn flush(&mut self) {
        for track in self.video.iter_mut().chain(&mut self.audio) {
            track.flush();
        }
        self.drained = false;
        self.broken = false;
        self.last = None;
        self.heard = f64::NEG_INFINITY;
        self.fed = None;
    }

    /// Begins again from the very beginning, for sources in which times are of no help.
    fn rewind(&mut self) -> Result<()> {
        self.demuxer = open_content(&self.spec, self.content.as_ref(), &self.interrupt)?;
        self.discard_others()?;
        self.flush();
        for track in self.video.iter_mut().chain(&mut self.audio) {
            if let Some(info) = self.streams.get(track.stream) {
                track.begin_again(info, self.threads, self.spec.decode.device)?;
            }
        }
        Ok(())
    }

    /// Makes `next` give the frame shown at `seconds` (and the sound from there on).
    pub(super) fn seek(&mut self, seconds: f64) -> Result<()> {
        let Some(video) = &self.video else { return self.seek_sound(seconds) };
        let (ticks, stream, base) = (video.ticks(seconds), video.stream, video.base);
        if self.is_timed()? {
            if let Some(index) = self.index.as_ref().filter(|i| i.is_exact()) {
                return match index.at(ticks) {
                    Some(n) => self.seek_indexed(n, Some(seconds)),
                    None => {
                        self.go_to_end();
                        Ok(())
                    }
                };
            }
            if self.is_near(seconds) {
                return self.settle(ticks, seconds, true).map(drop);
            }
            let mut places = self.places(stream, Timestamp::new(ticks, base));
            while let Some(places) = &mut places
                && places.next(&mut self.demuxer).unwrap_or(false)
            {
                self.flush();
                if self.settle(ticks, seconds, false)? {
                    return Ok(());
                }
            }
        } else if let Some(t) = self.last.as_ref().and_then(|f| f.pts)
            && t <= ticks
        {
            return self.settle(ticks, seconds, true).map(drop);
        }
        self.rewind()?;
        self.settle(ticks, seconds, true).map(drop)
    }

    /// Whether the pictures have times of their own. Containers without (raw video, AVI with B-frames) leave the times to
    /// the decoder, which guesses differently after a seek.
    fn is_timed(&mut self) -> Result<bool> {
        let untimed = |m: &Media| m.video.as_ref().is_some_and(|v| v.untimed);
        while self.seen < FEW && !untimed(self) && !self.drained && !self.broken {
            match self.pump() {
                // What cannot be read here does not matter elsewhere.
                Err(_) if self.broken => break,
                pumped => pumped?,
            }
        }
        Ok(!untimed(self) && self.demuxer.is_seekable())
    }

    /// Whether decoding on from here leads to `seconds` soon.
    fn is_near(&self, seconds: f64) -> bool {
        let now = self.last.as_ref().and_then(|f| f.presentation()).map(|t| t.seconds());
        now.is_some_and(|now| (0.0..NEAR).contains(&(seconds - now))) && self.can_go_on(seconds)
    }

    /// Whether no sound after `seconds` was handed out already.
    fn can_go_on(&self, seconds: f64) -> bool {
        self.audio.is_none() || self.heard <= seconds
    }

    /// Decodes until the picture shown at `ticks` is known and puts it first. False when decoding began after it;
    /// with `accept`, the first picture is then taken.
    fn settle(&mut self, ticks: i64, seconds: f64, accept: bool) -> Result<bool> {
        self.drop_sound_before(seconds);
        let settled = self.decode_to(ticks, accept);
        if let Some(video) = &mut self.video {
            video.skip(false);
        }
        settled
    }

    fn decode_to(&mut self, ticks: i64, accept: bool) -> Result<bool> {
        // The latest time read so far that is not after the wanted one. A picture before it is not the one shown, so that
        // it need not be decoded when no other refers to it.
        let mut reached = None;
        let mut shown = self.last.take().filter(|f| f.pts.is_some_and(|t| t <= ticks));
        loop {
            let Some(video) = &mut self.video else { return Ok(true) };
            while let Some(frame) = video.ready.front() {
                if frame.pts.is_none_or(|t| t <= ticks) {
                    shown = video.ready.pop_front();
                    continue;
                }
                if shown.is_none() && !accept {
                    return Ok(false);
                }
                video.put_back(shown);
                return Ok(true);
            }
            if self.drained {
                if shown.is_none() && !accept {
                    return Ok(false);
                }
                // The last picture is shown until its end; after that there is nothing.
                let shown = shown.filter(|f| f.pts.is_some_and(|t| t + f.duration.max(1) > ticks));
                video.put_back(shown);
                return Ok(true);
            }
            let Some(packet) = self.read()? else {
                self.drain()?;
                continue;
            };
            if let Some(video) =
                self.video.as_mut().filter(|v| v.stream == packet.stream_index() && !v.untimed)
                && let Some(t) = packet.pts()
            {
                video.skip(reached.is_some_and(|reached| t < reached));
                if t <= ticks {
                    reached = reached.max(Some(t));
                }
            }
            self.decode(&packet)?;
        }
    }

    fn drop_sound_before(&mut self, seconds: f64) {
        if let Some(audio) = &mut self.audio {
            let from = audio.ticks(seconds);
            audio.from = Some(from);
            audio.ready.retain(|f| f.pts.is_none_or(|t| t + f.duration.max(1) > from));
        }
    }

    fn go_to_end(&mut self) {
        self.flush();
        self.drained = true;
    }

    fn seek_sound(&mut self, seconds: f64) -> Result<()> {
        let Some(audio) = &self.audio else { return Ok(()) };
        let (ticks, stream, base) = (audio.ticks(seconds), audio.stream, audio.base);
        // Codecs that overlap their frames need some before the wanted one.
        let early = ticks - rescale(1, Rational::new(1, 10), base, Rounding::Up);
        let mut places =
            self.places(stream, Timestamp::new(early, base)).filter(|_| self.demuxer.is_seekable());
        while let Some(places) = &mut places
            && places.next(&mut self.demuxer).unwrap_or(false)
        {
            self.flush();
            self.drop_sound_before(seconds);
            while !self.drained && self.audio.as_ref().is_some_and(|a| a.ready.is_empty()) {
                self.pump()?;
            }
            let head = self.audio.as_ref().and_then(|a| a.ready.front()).and_then(|f| f.pts);
            if head.is_none_or(|t| t <= ticks) {
                return Ok(());
            }
        }
        self.rewind()?;
        self.drop_sound_before(seconds);
        Ok(())
    }

    /// Where to begin reading for what `stream` shows at `at`.
    fn places(&self, stream: usize, at: Timestamp) -> Option<Places> {
        let info = self.streams.get(stream)?;
        Some(Seeker::by(info, info.start.unwrap_or(Timestamp::new(0, info.time_base))).places(at))
    }

    /// The index of the pictures, made by reading all packets once.
    pub(super) fn index(&mut self) -> Result<&Index> {
        if self.index.is_none() {
            let stream = match &self.video {
                Some(video) => video.stream,
                None => return Err(Error::unsupported("sound has no frame numbers; seek by time")),
            };
            let content = self.content.as_ref();
            let mut scan = scan_stream(&self.spec, content, &self.interrupt, &self.streams, stream)?;
            let mut packets =
                scan.streams.get_mut(stream).map(|s| std::mem::take(&mut s.packets)).unwrap_or_default();
            self.hide_undecodable(stream, &mut packets)?;
            self.index = Some(Index::new(&packets));
        }
        self.index.as_ref().ok_or_else(|| Error::new(ErrorKind::Internal, "no index"))
    }

    /// Marks those packets at the beginning as not shown of which the decoder makes no picture, by decoding where that is in
    /// doubt.
    fn hide_undecodable(&self, stream: usize, packets: &mut [Seen]) -> Result<()> {
        let mut enough = doubtful(packets);
        let Some(info) = self.streams.get(stream).filter(|_| enough > 0) else { return Ok(()) };
        let mut demuxer = open_content(&self.spec, self.content.as_ref(), &self.interrupt)?;
        for i in 0..demuxer.stream_count() {
            demuxer.set_discard(i, i != stream)?;
        }
        let mut track = Track::new(info, self.threads, self.spec.decode.device)?;
        let (mut fed, mut given) = (0, HashSet::new());
        // A decoder that begins without a key frame may take some frames to recover: what it gives soon after is known too.
        enough += MAX_DELAY;
        while fed < enough {
            let mut packet = match demuxer.read() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(e) if e.kind() == av::Kind::InvalidData => break,
                Err(e) => return Err(reading(&self.spec.label(), self.spec.timeout, e)),
            };
            if packet.stream_index() != stream {
                continue;
            }
            // Frames tell which packet they come from.
            packet.set_pts(Some(fed as i64));
            packet.set_dts(None);
            fed += 1;
            track.feed(Some(&packet))?;
            given.extend(track.ready.drain(..).filter_map(|f| f.pts));
            if fed == enough && given.is_empty() {
                enough += MAX_DELAY;
            }
        }
        track.feed(None)?;
        given.extend(track.ready.drain(..).filter_map(|f| f.pts));
        for (n, packet) in packets.iter_mut().enumerate().take(fed) {
            packet.shown &= given.contains(&(n as i64));
        }
        Ok(())
    }

    /// The pictures that are read between two times (seconds): from the one shown at `start` to the last that begins
    /// before `stop`.
    pub(super) fn part(&mut self, start: Option<f64>, stop: Option<f64>) -> Result<Range<usize>> {
        let base = self.video.as_ref().map(|v| v.base.as_f64());
        let from = start.zip(self.video.as_ref()).map(|(start, video)| video.ticks(start));
        let index = self.index()?;
        let len = index.len();
        if from.is_none() && stop.is_none() {
            return Ok(0..len);
        }
        if !index.is_exact() {
            let message = "its pictures have no times, so that those of a part of it cannot be counted";
            return Err(Error::unsupported(message).context(self.spec.label()));
        }
        let begin = from.map_or(0, |ticks| index.at(ticks).unwrap_or(len));
        let end = stop
            .zip(base)
            .map_or(len, |(stop, base)| index.before(|pts| (pts as f64 * base) < stop - super::ROUNDING));
        Ok(begin..end.max(begin))
    }

    /// Makes `next` give frame `n` of the whole source in presentation order; there is such a frame.
    pub(super) fn seek_frame(&mut self, n: usize) -> Result<()> {
        let exact = self.index()?.is_exact();
        if exact && self.is_timed()? { self.seek_indexed(n, None) } else { self.count_to(n as i64) }
    }

    fn seek_indexed(&mut self, n: usize, seconds: Option<f64>) -> Result<()> {
        let Some((video, index)) = self.video.as_ref().zip(self.index.as_ref()) else { return Ok(()) };
        let Some(pts) = index.pts(n) else { return Ok(()) };
        let (stream, at) = (video.stream, pts as f64 * video.base.as_f64());
        let seconds = seconds.unwrap_or(at);
        let keys: Vec<Key> = index.starts(n).take(KEYS).collect();
        let now = self.last.as_ref().and_then(|f| f.pts);
        if now.is_some_and(|now| now <= pts) && self.can_go_on(seconds) {
            // No key frame between here and there: decoding on is the shortest way.
            let fed = self.fed.and_then(|t| index.order_of(t));
            if now == Some(pts) || fed.zip(keys.first()).is_some_and(|(fed, key)| key.order <= fed) {
                return self.settle_at(pts, seconds).map(drop);
            }
        }
        let mut begun = false;
        for key in keys {
            for ts in [Some(key.pts), key.dts] {
                let Some(ts) = ts else { continue };
                if self.demuxer.seek(Some(stream), ts, true).is_err() {
                    continue;
                }
                self.flush();
                if self.begins_by(stream, &key)? {
                    begun = true;
                    if self.settle_at(pts, seconds)? {
                        return Ok(());
                    }
                    // Decoding recovers only after a while from some key frames (intra refresh).
                    break;
                }
            }
        }
        if begun {
            // It cannot be decoded from anywhere: what follows it is next.
            return Ok(());
        }
        self.rewind()?;
        self.settle_at(pts, seconds).map(drop)
    }

    /// Reads up to the first key packet; whether it is `key` or one before it.
    fn begins_by(&mut self, stream: usize, key: &Key) -> Result<bool> {
        while let Some(packet) = self.read()? {
            if packet.stream_index() == stream && packet.is_key() {
                let found = packet.dts().zip(key.dts).map_or_else(
                    || packet.pts().is_some_and(|t| t <= key.pts),
                    |(found, wanted)| found <= wanted,
                );
                if found {
                    self.decode(&packet)?;
                }
                return Ok(found);
            }
            self.decode(&packet)?;
        }
        Ok(false)
    }

    /// As [`Media::settle`] for a time that is a picture's own: pictures before it that no other needs are skipped. False when
    /// a later one is all that there is.
    fn settle_at(&mut self, pts: i64, seconds: f64) -> Result<bool> {
        self.drop_sound_before(seconds);
        let last = self.last.take().filter(|f| f.pts == Some(pts));
        if let (Some(video), true) = (&mut self.video, last.is_some()) {
            video.put_back(last);
            return Ok(true);
        }
        loop {
            let Some(video) = &mut self.video else { return Ok(true) };
            while video.ready.front().is_some_and(|f| f.pts.is_some_and(|t| t < pts)) {
                video.ready.pop_front();
            }
            if !video.ready.is_empty() || self.drained {
                video.skip(false);
                return Ok(video.ready.front().is_some_and(|f| f.pts.is_none_or(|t| t == pts)));
            }
            match self.read()? {
                Some(packet) => {
                    if let Some(video) = self.video.as_mut().filter(|v| v.stream == packet.stream_index()) {
                        video.skip(packet.pts().is_some_and(|t| t < pts));
                    }
                    self.decode(&packet)?;
                }
                None => self.drain()?,
            }
        }
    }

    /// Finds frame `n` by decoding and counting, where times do not tell frames apart.
    fn count_to(&mut self, n: i64) -> Result<()> {
        let at = |m: &Media| m.video.as_ref().map_or(0, |v| v.count - v.ready.len() as i64);
        if at(self) > n || self.broken {
            self.rewind()?;
        }
        loop {
            let missing = n - at(self);
            let Some(video) = &mut self.video else { return Ok(()) };
            let drop = usize::try_from(missing).unwrap_or(0).min(video.ready.len());
            video.ready.drain(..drop);
            let head = video.ready.front().and_then(Frame::presentation).map(|t| t.seconds());
            if let Some(head) = head.filter(|_| missing == drop as i64) {
                self.last = None;
                self.drop_sound_before(head);
                return Ok(());
            }
            if self.drained {
                return Ok(());
            }
            self.pump()?;
        }
    }
}

/// The stream to decode: the one asked for, else the first of its kind that is no cover art.
fn choose<'a>(
    spec: &SourceSpec,
    streams: &'a [StreamInfo],
    wanted: bool,
    kind: MediaKind,
    index: Option<usize>,
) -> Result<Option<&'a StreamInfo>> {
    if !wanted {
        return Ok(None);
    }
    match index {
        Some(i) => match streams.get(i).filter(|s| s.kind == kind) {
            Some(s) => Ok(Some(s)),
            None => Err(Error::new(
                ErrorKind::NotFound,
                format!("{}: stream {i} is not a stream of {}", spec.label(), kind.name()),
            )),
        },
        None => Ok(streams
            .iter()
            .filter(|s| s.kind == kind)
            .min_by_key(|s| (s.disposition.attached_picture, !s.disposition.default, s.index))
            .filter(|s| kind != MediaKind::Video || !s.disposition.attached_picture)),
    }
}
