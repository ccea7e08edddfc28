//! Decoding subtitles: text or pictures with the time they are shown.

use super::error::{Error, Result, check, text};
use super::log::Scoped;
use super::packet::time;
use super::{CodecParameters, Packet, raw};
use bytes::Bytes;
use std::ptr::NonNull;

/// A decoder of subtitles. One thread at a time.
pub struct SubtitleDecoder {
    raw: *mut raw::AVCodecContext,
    scratch: Scratch,
    time_base: (i32, i32),
    _scope: Scoped,
}

// SAFETY: owned alone; codec contexts are not tied to a thread.
unsafe impl Send for SubtitleDecoder {}

/// What appears at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SubtitleEvent {
    /// When it appears, in microseconds.
    pub start: i64,
    /// When it disappears, in microseconds; `None`: with the next event.
    pub end: Option<i64>,
    /// What is shown. Empty clears the screen.
    pub rects: Vec<SubtitleRect>,
}

/// One text or picture.
#[derive(Clone, Debug, PartialEq)]
pub enum SubtitleRect {
    /// An ASS event line (`ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text`).
    Ass(String),
    /// Plain text.
    Text(String),
    /// A picture.
    Bitmap {
        /// Left edge on the video.
        x: u32,
        /// Top edge on the video.
        y: u32,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// R, G, B, A bytes, not premultiplied, rows without padding.
        rgba: Bytes,
        /// Must be shown even when subtitles are off.
        forced: bool,
    },
}

impl SubtitleRect {
    /// The text without ASS fields and override tags; `None` for a picture.
    pub fn plain_text(&self) -> Option<String> {
        let line = match self {
            SubtitleRect::Text(line) => return Some(line.clone()),
            SubtitleRect::Ass(line) => line.splitn(9, ',').nth(8).unwrap_or_default(),
            SubtitleRect::Bitmap { .. } => return None,
        };
        let mut out = String::with_capacity(line.len());
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            if c == '{'
                && let Some(end) = rest.find('}')
            {
                rest = &rest[end + 1..];
                continue;
            }
            if let Some(tail) = rest.strip_prefix("\\N").or_else(|| rest.strip_prefix("\\n")) {
                out.push('\n');
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix("\\h") {
                out.push('\u{a0}');
                rest = tail;
            } else {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        Some(out)
    }
}

impl SubtitleDecoder {
    /// Opens a decoder for packets whose times count in `time_base`.
    ///
    /// # Errors
    /// `Unsupported` when there is none; `Invalid` for a stream that is no subtitle or has no time base; `Memory`.
    pub fn new(params: &CodecParameters, time_base: (i32, i32)) -> Result<SubtitleDecoder> {
        if time_base.0 <= 0 || time_base.1 <= 0 {
            return Err(Error::invalid("a subtitle time base"));
        }
        // SAFETY: returns NULL or zeroed memory of ours.
        let scratch = NonNull::new(unsafe { raw::gsav_subtitle_alloc() })
            .map(Scratch)
            .ok_or_else(|| Error::memory("allocate subtitle"))?;
        let mut out =
            SubtitleDecoder { raw: std::ptr::null_mut(), scratch, time_base, _scope: Scoped::default() };
        let cfg =
            raw::DecoderConfig { threads: 1, tb_num: time_base.0, tb_den: time_base.1, ..Default::default() };
        let name = params.codec_name();
        // SAFETY: live parameters; no pointers in the config.
        let code = unsafe { raw::gsav_decoder_alloc(&mut out.raw, params.as_ptr(), &cfg) };
        check(code, format!("decoder {name}"))?;
        out._scope = Scoped::new(out.raw.cast_const().cast());
        if params.kind() != super::MediaType::Subtitle {
            return Err(Error::invalid(format!("{name} is no subtitle codec")));
        }
        // SAFETY: a context of ours, not opened yet; no options.
        let code = unsafe { raw::gsav_codec_open(out.raw, std::ptr::null_mut()) };
        check(code, format!("open decoder {name}"))?;
        Ok(out)
    }

    /// The ASS header (`[Script Info]`, styles) that events refer to; empty for pictures.
    pub fn header(&self) -> String {
        let mut size = 0;
        // SAFETY: an opened context; NULL or `size` bytes of it.
        let bytes = unsafe {
            let header = raw::gsav_context_subtitle_header(self.raw, &mut size);
            super::packet::copy(header.cast(), size.max(0) as usize)
        };
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        text.trim_end_matches('\0').to_owned()
    }

    /// Decodes a packet; `None` when nothing appears.
    ///
    /// # Errors
    /// `InvalidData`; decoding can go on.
    pub fn decode(&mut self, packet: &Packet) -> Result<Option<SubtitleEvent>> {
        let mut s = raw::Subtitle::default();
        let sub = self.scratch.0.as_ptr();
        // SAFETY: an opened context, our scratch, a live packet.
        let got = unsafe { raw::gsav_subtitle_decode(self.raw, sub, packet.as_ptr(), &mut s) };
        let event = check(got, "decode subtitle").map(|got| (got > 0).then(|| self.event(&s, packet)));
        // SAFETY: our scratch; frees what the decoder put there.
        unsafe { raw::gsav_subtitle_clear(sub) };
        event
    }

    fn event(&self, s: &raw::Subtitle, packet: &Packet) -> SubtitleEvent {
        let micros = |ticks: i64| {
            let (num, den) = self.time_base;
            (i128::from(ticks) * i128::from(num) * 1_000_000 / i128::from(den)) as i64
        };
        let base = time(s.pts).or_else(|| packet.pts().map(micros)).unwrap_or(0);
        let start = base + i64::from(s.start) * 1000;
        let end = match s.end {
            // Text: the container's duration. Pictures: until the next.
            0 | u32::MAX if packet.duration() > 0 => Some(base + micros(packet.duration())),
            0 | u32::MAX => None,
            ms => Some(base + i64::from(ms) * 1000),
        };
        let rects = (0..s.rects).filter_map(|i| self.rect(i)).collect();
        SubtitleEvent { start, end, rects }
    }

    fn rect(&self, index: u32) -> Option<SubtitleRect> {
        let mut r = raw::SubtitleRect::default();
        // SAFETY: our scratch, just decoded into; the call checks the index.
        if unsafe { raw::gsav_subtitle_rect(self.scratch.0.as_ptr(), index, &mut r) } < 0 {
            return None;
        }
        if r.bitmap == 0 {
            // SAFETY: NULL or terminated strings of the rect.
            let (ass, plain) = unsafe { (text(r.ass), text(r.text)) };
            return match (ass.is_empty(), plain.is_empty()) {
                (false, _) => Some(SubtitleRect::Ass(ass)),
                (true, false) => Some(SubtitleRect::Text(plain)),
                (true, true) => None,
            };
        }
        let size = |n: i32| usize::try_from(n).ok().filter(|n| *n > 0 && *n <= 16384);
        let (w, h, stride) = (size(r.w)?, size(r.h)?, usize::try_from(r.stride).ok()?);
        if r.pixels.is_null() || r.palette.is_null() || stride < w {
            return None;
        }
        let mut rgba = Vec::with_capacity(w * h * 4);
        for y in 0..h {
            // SAFETY: a bitmap rect has `h` rows of `stride` bytes, of which `w` count, and a palette of 256 words.
            let row = unsafe { std::slice::from_raw_parts(r.pixels.add(y * stride), w) };
            for &index in row {
                // SAFETY: as above; the palette is not promised to be aligned.
                let argb = unsafe { r.palette.cast::<u32>().add(usize::from(index)).read_unaligned() };
                let [a, red, green, blue] = argb.to_be_bytes();
                rgba.extend_from_slice(&[red, green, blue, a]);
            }
        }
        Some(SubtitleRect::Bitmap {
            x: r.x.max(0) as u32,
            y: r.y.max(0) as u32,
            width: w as u32,
            height: h as u32,
            rgba: rgba.into(),
            forced: r.forced != 0,
        })
    }

    /// Forgets what it holds, for a seek.
    pub fn flush(&mut self) {
        // SAFETY: an opened context.
        unsafe { raw::avcodec_flush_buffers(self.raw) }
    }
}

impl Drop for SubtitleDecoder {
    fn drop(&mut self) {
        // SAFETY: NULL or ours; freed once.
        unsafe { raw::gsav_decoder_free(&mut self.raw) }
    }
}

struct Scratch(NonNull<raw::AVSubtitle>);

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut sub = self.0.as_ptr();
        // SAFETY: ours; freed once.
        unsafe { raw::gsav_subtitle_free(&mut sub) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ass_lines_lose_their_fields_and_tags() {
        let rect = SubtitleRect::Ass(r"0,0,Default,,0,0,0,,{\i1}Hello,{\i0}\Nworld".into());
        assert_eq!(rect.plain_text().unwrap(), "Hello,\nworld");
    }
}
