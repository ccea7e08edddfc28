//! WebVTT: cues from text subtitles of any kind, whole files, HLS segments, and samples for fMP4.
//!
//! Text only: styling beyond bold, italics and underline is dropped, and so is the drawing that ASS can do. Bitmap
//! subtitles are burnt in elsewhere.

mod samples;
mod text;

pub use samples::samples;
pub use text::{ass_payload, placement, plain_payload, srt_payload};

use crate::Result;
use crate::error::{Error, ErrorKind};
use crate::packet::{Codec, Packet, SideData};
use std::fmt::Write;

/// One cue. Times are microseconds on the output's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// Identifier line, if any.
    pub id: Option<String>,
    /// When it appears.
    pub start: i64,
    /// When it goes.
    pub end: i64,
    /// Settings as written behind the times (`line:0 align:start`).
    pub settings: String,
    /// WebVTT cue text: markup allowed, `&` and `<` escaped, no blank lines.
    pub text: String,
}

impl Cue {
    /// A cue with text and times only.
    pub fn new(start: i64, end: i64, text: impl Into<String>) -> Self {
        Cue { id: None, start, end, settings: String::new(), text: text.into() }
    }

    /// The cue in a subtitle packet of a text codec, `origin` microseconds being time 0; `None` when it is empty.
    ///
    /// # Errors
    /// As [`payload_of`]; [`ErrorKind::Format`] for a packet without a time.
    pub fn from_packet(codec: &Codec, packet: &Packet, origin: i64) -> Result<Option<Cue>> {
        let text = payload_of(codec, &packet.data)?;
        let Some(start) = packet.presentation().filter(|t| t.base.is_positive()) else {
            return Err(Error::new(ErrorKind::Format, "subtitle packet without a time"));
        };
        let length = crate::time::Timestamp::new(packet.duration.max(0), packet.base).micros();
        let start = start.micros().saturating_sub(origin);
        let end = start.saturating_add(length);
        Ok((!text.is_empty() && end > start).then(|| Cue::new(start, end, text).set_as(codec, packet)))
    }

    /// Shown where and how `packet` of `codec` says.
    #[must_use]
    pub fn set_as(self, codec: &Codec, packet: &Packet) -> Self {
        Cue { settings: settings_of(codec, packet), ..self }
    }

    fn write(&self, out: &mut String) {
        if let Some(id) = &self.id {
            // An arrow would make the line a timing line.
            let _ = writeln!(out, "{}", one_line(id).replace("-->", "->"));
        }
        let _ = write!(out, "{} --> {}", clock(self.start), clock(self.end));
        if !self.settings.is_empty() {
            let _ = write!(out, " {}", one_line(&self.settings).replace("-->", ""));
        }
        let _ = write!(out, "\n{}\n\n", payload(&self.text));
    }
}

/// Where and how the cue in a packet of a text codec is shown; empty for the middle of the bottom.
pub fn settings_of(codec: &Codec, packet: &Packet) -> String {
    let said = packet.side_data.iter().find_map(|side| match side {
        SideData::CueSettings(text) => Some(String::from_utf8_lossy(text).trim().to_string()),
        _ => None,
    });
    said.unwrap_or_else(|| match codec {
        Codec::SubRip | Codec::Ass => placement(&String::from_utf8_lossy(&packet.data)),
        _ => String::new(),
    })
}

/// The cue text in the payload of a packet of a text codec: bold, italics and underline kept as tags, everything else
/// escaped. WebVTT stays as it is, but for what would end its cue.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a codec that is not read here; [`ErrorKind::Format`] for a damaged packet.
pub fn payload_of(codec: &Codec, data: &[u8]) -> Result<String> {
    let raw = String::from_utf8_lossy(data);
    Ok(match codec {
        Codec::WebVtt => payload(&raw),
        Codec::SubRip => srt_payload(&raw),
        Codec::Ass => ass_payload(ass_event_text(&raw)),
        Codec::MovText => match data.get(..2).map(|n| usize::from(u16::from_be_bytes([n[0], n[1]]))) {
            Some(length) => {
                let (text, boxes) = data[2..].split_at_checked(length).ok_or_else(|| {
                    Error::new(ErrorKind::Format, "mov_text: text runs past the end of its packet")
                })?;
                text::timed_payload(&String::from_utf8_lossy(text), boxes)
            }
            None => String::new(),
        },
        Codec::Other(name) if &**name == "ssa" => ass_payload(ass_event_text(&raw)),
        Codec::Other(name) if &**name == "text" => plain_payload(&raw),
        other => return Err(Error::unsupported(format!("{other} cannot become WebVTT"))),
    })
}

/// The text field of an ASS event as FFmpeg and Matroska carry it (`ReadOrder,Layer,Style,Name,MarginL,MarginR,
/// MarginV,Effect,Text`).
fn ass_event_text(event: &str) -> &str {
    event.splitn(9, ',').nth(8).unwrap_or("")
}

/// `hh:mm:ss.mmm`, times before 0 shown as 0.
fn clock(micros: i64) -> String {
    let ms = micros.max(0).saturating_add(500) / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Cue text that cannot break out of its cue: no blank lines, no arrows.
fn payload(text: &str) -> String {
    let text = text.replace("-->", "--&gt;").replace('\0', "\u{fffd}");
    let lines = text.lines().map(str::trim_end).filter(|l| !l.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// A whole WebVTT file.
pub fn file<'a>(cues: impl IntoIterator<Item = &'a Cue>) -> String {
    let mut out = String::from("WEBVTT\n\n");
    cues.into_iter().for_each(|cue| cue.write(&mut out));
    out
}

/// One segment of an HLS subtitle playlist: the cues that are shown between `start` and `end` (microseconds), with
/// their full times. `mpegts` is the 90 kHz time stamp of the output's time 0: 0 beside CMAF,
/// [`super::ts::TIME_OFFSET`] beside MPEG-TS.
pub fn segment(cues: &[Cue], start: i64, end: i64, mpegts: i64) -> String {
    let mut out =
        format!("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{},LOCAL:00:00:00.000\n\n", mpegts.rem_euclid(1 << 33));
    cues.iter().filter(|c| c.start < end && c.end > start).for_each(|cue| cue.write(&mut out));
    out
}

/// The text of a subtitle file, in the likeliest character set where it is not UTF-8.
pub fn decoded(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match crate::charset::of(bytes, None) {
        Ok(Some(encoding)) => encoding.decode(bytes).0,
        // UTF-16 with its mark, too.
        _ => match encoding_rs::Encoding::for_bom(bytes) {
            Some((encoding, _)) => encoding.decode(bytes).0,
            None => String::from_utf8_lossy(bytes),
        },
    }
}

/// Reads a WebVTT file. Styles, regions and notes are skipped; a damaged cue is left out.
pub fn parse(input: &str) -> Result<Vec<Cue>> {
    let input = input.strip_prefix('\u{feff}').unwrap_or(input);
    if !input.starts_with("WEBVTT") {
        return Err(Error::new(ErrorKind::Format, "WebVTT: does not start with WEBVTT"));
    }
    let blocks = text::blocks(input).into_iter().skip(1);
    Ok(blocks.filter_map(|block| cue_block(&block, payload)).collect())
}

/// Reads a SubRip file; a damaged cue is left out.
pub fn parse_srt(input: &str) -> Vec<Cue> {
    let input = input.strip_prefix('\u{feff}').unwrap_or(input);
    let cues = text::blocks(input).into_iter().filter_map(|block| {
        let text = block.join("\n");
        cue_block(&block, srt_payload).map(|cue| Cue { settings: placement(&text), ..cue })
    });
    // SubRip's numbers mean nothing.
    cues.map(|cue| Cue { id: None, ..cue }).collect()
}

/// Reads the events of an ASS or SSA file, in order of time.
pub fn parse_ass(input: &str) -> Vec<Cue> {
    let mut cues = Vec::new();
    let (mut start, mut end, mut text, mut fields) = (1, 2, 9, 10);
    for line in input.lines() {
        if let Some(format) = line.strip_prefix("Format:") {
            let names: Vec<&str> = format.split(',').map(str::trim).collect();
            let at = |name| names.iter().position(|n| n.eq_ignore_ascii_case(name));
            if let (Some(s), Some(e), Some(t)) = (at("Start"), at("End"), at("Text")) {
                (start, end, text, fields) = (s, e, t, names.len());
            }
        } else if let Some(event) = line.strip_prefix("Dialogue:") {
            let values: Vec<&str> = event.splitn(fields, ',').collect();
            let time = |i: usize| values.get(i).and_then(|v| text::parse_clock(v.trim()));
            if let (Some(start), Some(end), Some(value)) = (time(start), time(end), values.get(text)) {
                let payload = ass_payload(value);
                if end > start && !payload.is_empty() {
                    cues.push(Cue { settings: placement(value), ..Cue::new(start, end, payload) });
                }
            }
        }
    }
    cues.sort_by_key(|c| c.start);
    cues
}

/// A block of lines with a timing line: an optional identifier, times and settings, text.
fn cue_block(block: &[&str], convert: impl Fn(&str) -> String) -> Option<Cue> {
    let at = block.iter().take(2).position(|l| l.contains("-->"))?;
    let (start, rest) = block[at].split_once("-->")?;
    let rest = rest.trim_start();
    let (end, settings) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let (start, end) = (text::parse_clock(start.trim())?, text::parse_clock(end.trim())?);
    let text = convert(&block[at + 1..].join("\n"));
    let id = (at == 1).then(|| block[0].to_owned());
    (end > start && !text.is_empty()).then(|| Cue { id, start, end, settings: settings.trim().into(), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn srt_becomes_webvtt() {
        let srt = "1\r\n00:00:01,000 --> 00:00:02,500\r\n<i>Tom</i> & <font color=\"red\">Jerry</font>\r\na < b --> c\r\n\r\n\
            2\r\nnot a time\r\nlost\r\n\r\n3\n00:01:00,000 --> 00:01:01,000\nlast";
        let cues = parse_srt(srt);
        let expected = "WEBVTT\n\n00:00:01.000 --> 00:00:02.500\n<i>Tom</i> &amp; Jerry\na &lt; b --&gt; c\n\n\
            00:01:00.000 --> 00:01:01.000\nlast\n\n";
        assert_eq!(file(&cues), expected);
        assert_eq!(parse(&file(&cues)).unwrap(), cues);
    }

    #[test]
    fn ass_overrides_and_drawings_go() {
        let ass = "[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n\
            Dialogue: 0,0:00:03.00,0:00:04.00,D,,0,0,0,,{\\an8\\i1}Hi{\\i0}, you\\Nthere\\h& \n\
            Dialogue: 0,0:00:01.00,0:00:02.50,D,,0,0,0,,{\\p1}m 0 0 l 9 9{\\p0}text, too\n";
        let cues = parse_ass(ass);
        assert_eq!(cues[0], Cue::new(1_000_000, 2_500_000, "text, too"));
        assert_eq!(cues[1].text, "<i>Hi</i>, you\nthere\u{a0}&amp;");
        assert_eq!(cues[1].settings, "line:0");
    }

    #[test]
    fn alignments_are_places() {
        assert_eq!(placement("{\\i1\\an7}a"), "line:0 align:left position:0%");
        assert_eq!(placement("a {\\an5}"), "line:50%");
        assert_eq!(placement("{\\an3}"), "align:right position:100%");
        assert!(["{\\an2}a", "{\\ansi}", "{\\an0}", "plain", "{an8"].iter().all(|t| placement(t).is_empty()));
        let cues = parse_srt("1\n00:00:01,000 --> 00:00:02,000 X1:10 X2:20\n{\\an8}top\n");
        assert_eq!((cues[0].settings.as_str(), cues[0].text.as_str()), ("line:0", "top"));
    }

    #[test]
    fn segments_repeat_cues_that_span_them() {
        let cues = [Cue::new(500_000, 2_500_000, "a"), Cue::new(3_000_000, 4_000_000, "b")];
        let one = segment(&cues, 0, 2_000_000, 0);
        assert_eq!(
            one,
            "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n00:00:00.500 --> 00:00:02.500\na\n\n"
        );
        let two = segment(&cues, 2_000_000, 4_000_000, crate::package::ts::TIME_OFFSET);
        assert!(two.contains("MPEGTS:126000") && two.contains("\na\n") && two.contains("\nb\n"));
    }

    #[test]
    fn packets_of_every_text_codec() {
        let base = crate::time::Rational::new(1, 1000);
        let cue = |codec: Codec, data: &'static [u8]| {
            let packet = Packet::new(bytes::Bytes::from_static(data), 1500, 1000, base);
            Cue::from_packet(&codec, &packet, 500_000).unwrap().map(|c| (c.start, c.end, c.text))
        };
        let at = |text: &str| Some((1_000_000, 2_000_000, text.to_owned()));
        assert_eq!(cue(Codec::SubRip, b"<b>x</b>"), at("<b>x</b>"));
        assert_eq!(cue(Codec::Ass, b"0,0,Default,,0,0,0,,x, {\\b1}y"), at("x, <b>y</b>"));
        assert_eq!(cue(Codec::MovText, b"\0\x03a<bjunk"), at("a&lt;b"));
        assert_eq!(cue(Codec::WebVtt, b"<v Bob>x"), at("<v Bob>x"));
        assert_eq!(cue(Codec::MovText, b"\0\0"), None);
        let styled = b"\0\x06\xc3\xbc<c\nd\0\0\0\x16styl\0\x01\0\x01\0\x03\0\x01\x03\x10\xff\xff\xff\xff";
        assert_eq!(cue(Codec::MovText, styled), at("ü<b><i>&lt;c</i></b>\nd"));
    }
}
