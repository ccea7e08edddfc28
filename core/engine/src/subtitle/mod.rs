//! Text subtitles from one format to another: a packet of any text codec in, a packet of the wanted one out.

mod ass;
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
    /// Of ASS that becomes something else.
    styles: ass::Styles,
    /// Where the output ends, in milliseconds.
    end: Option<i64>,
}

impl SubtitleConverter {
    /// From `source` to `target` (WebVTT, SubRip, mov_text or ASS).
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the source is not text or the target is not one of the four.
    pub fn new(source: &StreamInfo, target: &Codec) -> Result<Self> {
        if !matches!(target, Codec::WebVtt | Codec::SubRip | Codec::MovText | Codec::Ass) {
            return Err(Error::unsupported(format!("text subtitles cannot become {target}")));
        }
        let (decoder, base) = (decoder(source)?, source.time_base);
        let styles = match &source.codec {
            Codec::Ass if *target != Codec::Ass => {
                ass::Styles::of(&String::from_utf8_lossy(&source.extradata))
            }
            _ => ass::Styles::default(),
        };
        let (source, target) = (source.codec.clone(), target.clone());
        Ok(SubtitleConverter { decoder, base, source, target, styles, end: None })
    }

    /// Shows nothing at `end` and later.
    #[must_use]
    pub fn until(mut self, end: Option<Timestamp>) -> Self {
        self.end = end.map(|t| t.to(MILLISECONDS).ticks);
        self
    }

    /// What the converted stream is.
    ///
    /// # Errors
    /// As [`SubtitleConverter::new`].
    pub fn stream(source: &StreamInfo, target: &Codec) -> Result<StreamInfo> {
        Ok(StreamInfo {
            codec: target.clone(),
            time_base: MILLISECONDS,
            extradata: match target {
                Codec::MovText => Bytes::from_static(TX3G),
                Codec::Ass => ass_header(source)?,
                _ => Bytes::new(),
            },
            programs: Vec::new(),
            native: None,
            start: None,
            metadata: Vec::new(),
            ..source.clone()
        })
    }
}

/// FFmpeg's decoder of a text stream.
fn decoder(source: &StreamInfo) -> Result<av::SubtitleDecoder> {
    let native = source.native.as_ref().filter(|_| source.codec.is_text_subtitle());
    let native = native.ok_or_else(|| Error::unsupported(format!("{} is not text", source.codec)))?;
    Ok(av::SubtitleDecoder::new(native, (source.time_base.num, source.time_base.den))?)
}

/// The head of an ASS file (`[Script Info]`, styles) with what is in `source`: its own, or the one that FFmpeg's decoder
/// makes its lines for.
fn ass_header(source: &StreamInfo) -> Result<Bytes> {
    match source.codec {
        Codec::Ass => Ok(source.extradata.clone()),
        _ => Ok(Bytes::from(decoder(source)?.header())),
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

    /// The lines of ASS in a packet, as Matroska has them (`ReadOrder,Layer,Style,…,Text`): its own, or what FFmpeg makes of it.
    fn ass(&mut self, packet: &Packet, settings: &str) -> Result<Vec<Bytes>> {
        if self.source == Codec::Ass {
            return Ok(vec![packet.data.clone()]);
        }
        let Some(event) = self.decoder.decode(&packet.to_av(true)?)? else { return Ok(Vec::new()) };
        // SubRip says it in its text, which FFmpeg keeps.
        let top = if self.source == Codec::WebVtt && is_top(settings) { "{\\an8}" } else { "" };
        let lines = event.rects.iter().filter_map(|rect| match rect {
            av::SubtitleRect::Ass(line) => {
                let (fields, text) = ass::split(line)?;
                (!text.trim().is_empty()).then(|| Bytes::from(format!("{fields}{top}{text}")))
            }
            _ => None,
        });
        Ok(lines.collect())
    }
}

impl Stage<Packet, Packet> for SubtitleConverter {
    fn push(&mut self, mut packet: Packet, out: &mut dyn Outlet<Packet>) -> Result<()> {
        let Some(shown) = packet.presentation() else { return Ok(()) };
        let start = shown.to(MILLISECONDS).ticks;
        let length = match packet.duration {
            d if d > 0 => Timestamp::new(d, self.base).to(MILLISECONDS).ticks,
            _ => LONGEST_SECONDS * 1000,
        };
        // A cue that began before the cut is shown from the cut on, one that goes on behind it to the cut.
        let (from, to) = (start.max(0), self.end.map_or(start + length, |end| end.min(start + length)));
        if to <= from {
            return Ok(());
        }
        if let Some(line) = self.styles.said(&String::from_utf8_lossy(&packet.data)) {
            packet.data = Bytes::from(line);
        }
        let settings = webvtt::settings_of(&self.source, &packet);
        if self.target == Codec::Ass {
            let lines = self.ass(&packet, &settings)?;
            let made = |line| Packet::new(line, from, to - from, MILLISECONDS);
            return lines.into_iter().try_for_each(|line| out.emit(made(line)));
        }
        let text = self.webvtt(&packet)?;
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        let data = match self.target {
            Codec::MovText => Bytes::from(styled::timed_text(&styled::runs(text))),
            Codec::SubRip => Bytes::from(styled::subrip(&styled::runs(text), is_top(&settings))),
            _ => Bytes::copy_from_slice(text.as_bytes()),
        };
        let mut made = Packet::new(data, from, to - from, MILLISECONDS);
        if self.target == Codec::WebVtt {
            made.side_data
                .extend((!settings.is_empty()).then(|| SideData::CueSettings(Bytes::from(settings))));
        }
        out.emit(made)
    }

    fn finish(&mut self, _: &mut dyn Outlet<Packet>) -> Result<()> {
        Ok(())
    }
}

/// Whether WebVTT's `settings` put a cue into the upper third of the picture.
fn is_top(settings: &str) -> bool {
    let line = settings.split_ascii_whitespace().find_map(|setting| setting.strip_prefix("line:"));
    let Some(line) = line.and_then(|line| line.split(',').next()) else { return false };
    match line.strip_suffix('%') {
        Some(share) => share.parse::<f64>().is_ok_and(|share| share < 33.0),
        // Counted from the top, of about 15; below 0 from the bottom.
        None => line.parse::<i32>().is_ok_and(|line| (0..5).contains(&line)),
    }
}

/// Opens a subtitle file; with its stream of text, and what a user should know of how it was read.
fn open_words(path: &str, charset: Option<&str>) -> Result<(av::Demuxer, StreamInfo, Option<String>)> {
    let interrupt = av::Interrupt::new();
    let source = crate::spec::SourceSpec::url(path);
    let local = charset.and_then(|_| open::local_path(&source));
    let opened = match local {
        Some(local) => open::open_text(&source, &local, charset, &interrupt)?,
        None => None,
    };
    let (demuxer, note) = opened.map_or_else(|| open::open_noting(&source, &interrupt), Ok)?;
    let mut streams = demuxer.streams()?.into_iter().map(|stream| StreamInfo::from_av(&stream));
    match streams.find(|s| s.codec.is_text_subtitle()) {
        Some(stream) => Ok((demuxer, stream, note)),
        None => Err(Error::new(ErrorKind::Format, format!("{path}: no text subtitles in it"))),
    }
}

/// The head of an ASS file with what is in the subtitle file at `path`.
///
/// # Errors
/// As [`read_subtitle_file`].
pub(crate) fn subtitle_file_header(path: &str, charset: Option<&str>) -> Result<Bytes> {
    let (_, stream, _) = open_words(path, charset)?;
    ass_header(&stream)
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
    let (mut demuxer, stream, note) = open_words(path, charset)?;
    let mut converter = SubtitleConverter::new(&stream, codec)?.until(end);
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
