//! Text subtitles from one format to another: a packet of any text codec in, a packet of the wanted one out.

mod styled;

use crate::error::{Error, ErrorKind, Result};
use crate::package::webvtt;
use crate::packet::{Codec, Packet, SideData, StreamInfo};
use crate::source::open;
use crate::stage::{Outlet, Stage};
use crate::time::{Rational, Timestamp};
use bytes::Bytes;
use ghoststream_sys::ffmpeg as av;

/// The base of converted subtitles.
const MILLISECONDS: Rational = Rational::new(1, 1000);

/// A cue shown for ever is not: its successor ends it, or this.
const LONGEST_SECONDS: i64 = 10;

/// Converts text subtitle packets.
pub struct SubtitleConverter {
    decoder: av::SubtitleDecoder,
    base: Rational,
    source: Codec,
    target: Codec,
    /// Where the output ends, in milliseconds.
    end: Option<i64>,
}

impl SubtitleConverter {
    /// From `source` to `target` (WebVTT, SubRip or mov_text).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the source is not text or the target is not one of the three.
    pub fn new(source: &StreamInfo, target: &Codec) -> Result<Self> {
        let native = source.native.as_ref().filter(|_| source.codec.is_text_subtitle());
        let native = native.ok_or_else(|| Error::unsupported(format!("{} is not text", source.codec)))?;
        if !matches!(target, Codec::WebVtt | Codec::SubRip | Codec::MovText) {
            return Err(Error::unsupported(format!("text subtitles cannot become {target}")));
        }
        let base = source.time_base;
        let decoder = av::SubtitleDecoder::new(native, (base.num, base.den))?;
        let (source, target) = (source.codec.clone(), target.clone());
        Ok(SubtitleConverter { decoder, base, source, target, end: None })
    }

    /// Shows nothing at `end` and later.
    #[must_use]
    pub fn until(mut self, end: Option<Timestamp>) -> Self {
        self.end = end.map(|t| t.to(MILLISECONDS).ticks);
        self
    }

    /// What the converted stream is.
    pub fn stream(source: &StreamInfo, target: &Codec) -> StreamInfo {
        StreamInfo {
            codec: target.clone(),
            time_base: MILLISECONDS,
            extradata: if *target == Codec::MovText { Bytes::from_static(TX3G) } else { Bytes::new() },
            programs: Vec::new(),
            native: None,
            start: None,
            metadata: Vec::new(),
            ..source.clone()
        }
    }
}

/// A sample description for timed text (3GPP TS 26.245, `tx3g` without its box header): centred at the bottom, white
/// Arial at 16 on nothing, one font: what FFmpeg takes for usual.
const TX3G: &[u8] = &[
    0, 0, 0, 0, 1, 0xff, 0, 0, 0, 0, // flags, justification, background
    0, 0, 0, 0, 0, 0, 0, 0, // text box
    0, 0, 0, 0, 0, 1, 0, 16, 0xff, 0xff, 0xff, 0xff, // style: all characters, font 1, size 16, white
    0, 0, 0, 18, b'f', b't', b'a', b'b', 0, 1, 0, 1, 5, b'A', b'r', b'i', b'a', b'l',
];

impl SubtitleConverter {
    /// Cue text of a packet. What the WebVTT module reads itself keeps its italics, bold and underline, and WebVTT stays
    /// as it is; everything else comes through FFmpeg, which makes ASS of it.
    fn webvtt(&mut self, packet: &Packet) -> Result<String> {
        match webvtt::payload_of(&self.source, &packet.data) {
            Err(e) if e.kind() == ErrorKind::Unsupported => {}
            read => return read,
        }
        let Some(event) = self.decoder.decode(&packet.to_av(true)?)? else { return Ok(String::new()) };
        let lines = event.rects.iter().filter_map(|rect| match rect {
            av::SubtitleRect::Ass(line) => Some(webvtt::payload_of(&Codec::Ass, line.as_bytes())),
            av::SubtitleRect::Text(line) => Some(Ok(webvtt::plain_payload(line))),
            av::SubtitleRect::Bitmap { .. } => None,
        });
        Ok(lines.collect::<Result<Vec<_>>>()?.join("\n"))
    }
}

impl Stage<Packet, Packet> for SubtitleConverter {
    fn push(&mut self, packet: Packet, out: &mut dyn Outlet<Packet>) -> Result<()> {
        let Some(shown) = packet.presentation() else { return Ok(()) };
        let text = self.webvtt(&packet)?;
        let start = shown.to(MILLISECONDS).ticks;
        let length = match packet.duration {
            d if d > 0 => Timestamp::new(d, self.base).to(MILLISECONDS).ticks,
            _ => LONGEST_SECONDS * 1000,
        };
        // A cue that began before the cut is shown from the cut on, one that goes on behind it to the cut.
        let (from, to) = (start.max(0), self.end.map_or(start + length, |end| end.min(start + length)));
        if text.trim().is_empty() || to <= from {
            return Ok(());
        }
        let mut made = cue(&self.target, text.trim(), from, to);
        if self.target == Codec::WebVtt {
            let settings = webvtt::settings_of(&self.source, &packet);
            made.side_data
                .extend((!settings.is_empty()).then(|| SideData::CueSettings(Bytes::from(settings))));
        }
        out.emit(made)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Packet>) -> Result<()> {
        Ok(())
    }
}

/// The packet of a cue of WebVTT's `text`.
fn cue(codec: &Codec, text: &str, from: i64, to: i64) -> Packet {
    let data = match codec {
        Codec::MovText => Bytes::from(styled::timed_text(&styled::runs(text))),
        Codec::SubRip => Bytes::from(styled::subrip(&styled::runs(text))),
        _ => Bytes::copy_from_slice(text.as_bytes()),
    };
    Packet::new(data, from, to - from, MILLISECONDS)
}

/// All cues of a subtitle file as packets of `codec`, `start` taken as time 0, up to `end` (which counts from there); and
/// what a user should know of how it was read. `charset`: what the text of a file on this machine is in, if that is known.
///
/// # Errors
/// [`ErrorKind::NotFound`] or I/O errors by name of the file; [`ErrorKind::Format`] when it holds no text subtitles;
/// [`ErrorKind::Invalid`] (`charset`).
pub fn read_subtitle_file(
    path: &str,
    charset: Option<&str>,
    codec: &Codec,
    start: Timestamp,
    end: Option<Timestamp>,
) -> Result<(Vec<Packet>, Option<String>)> {
    let interrupt = av::Interrupt::new();
    let source = crate::spec::SourceSpec::url(path);
    let local = charset.and_then(|_| open::local_path(&source));
    let opened = match local {
        Some(local) => open::open_text(&source, &local, charset, &interrupt)?,
        None => None,
    };
    let (mut demuxer, note) = opened.map_or_else(|| open::open_noting(&source, &interrupt), Ok)?;
    let streams: Vec<StreamInfo> = demuxer.streams()?.iter().map(StreamInfo::from_av).collect();
    let stream = streams.iter().find(|s| s.codec.is_text_subtitle());
    let stream =
        stream.ok_or_else(|| Error::new(ErrorKind::Format, format!("{path}: no text subtitles in it")))?;
    let mut converter = SubtitleConverter::new(stream, codec)?.until(end);
    let mut packets = Vec::new();
    while let Some(packet) = demuxer.read().map_err(|e| Error::from(e).context(path))? {
        if packet.stream_index() == stream.index {
            let mut packet = Packet::from_av(&packet, stream.time_base);
            let shift = start.to(stream.time_base).ticks;
            packet.pts = packet.pts.map(|t| t - shift);
            packet.dts = packet.dts.map(|t| t - shift);
            converter.push(packet, &mut packets)?;
        }
    }
    Ok((packets, note))
}
