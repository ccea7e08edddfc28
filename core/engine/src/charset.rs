//! Text of before UTF-8: subtitle files in the character sets of their countries, which nothing in them names.

use crate::error::{Error, ErrorKind, Result};
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::Encoding;
use std::path::Path;

/// No subtitle file is larger, in bytes.
const LARGEST: u64 = 32 << 20;

/// What subtitle files are called.
const EXTENSIONS: &[&str] = &["srt", "ass", "ssa", "vtt", "sub", "smi", "sami", "lrc", "txt"];

/// Whether the web has a character set of this name.
pub(crate) fn is_known(name: &str) -> bool {
    Encoding::for_label(name.as_bytes()).is_some()
}

/// The character set of `text`: the one that is `said`, or the likeliest. `None` for UTF-8, for UTF-16 that begins with its mark, which
/// FFmpeg reads itself, and for what is no text.
///
/// # Errors
/// [`ErrorKind::Invalid`] (`charset`) for one that is not known.
pub(crate) fn of(text: &[u8], said: Option<&str>) -> Result<Option<&'static Encoding>> {
    let is_ours = |encoding: &&Encoding| *encoding != encoding_rs::UTF_8;
    if let Some(name) = said {
        let encoding = Encoding::for_label(name.as_bytes());
        let known = encoding.ok_or_else(|| Error::invalid("charset", format!("{name:?} is not known")))?;
        return Ok(Some(known).filter(is_ours));
    }
    if Encoding::for_bom(text).is_some() || text.contains(&0) || std::str::from_utf8(text).is_ok() {
        return Ok(None);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(text, true);
    Ok(Some(detector.guess(None, Utf8Detection::Deny)).filter(is_ours))
}

/// The text of the subtitle file at `path` in UTF-8, and what it was read as if not that; `None` where FFmpeg reads it as it is.
///
/// # Errors
/// As [`of`]; I/O errors by name of the file.
pub(crate) fn read(path: &str, said: Option<&str>) -> Result<Option<(Vec<u8>, Option<&'static str>)>> {
    let extension = Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or_default();
    if said.is_none() && !EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        return Ok(None);
    }
    let named = |e: std::io::Error| Error::from(e).context(path);
    // What cannot be opened, whoever opens it next says.
    let Ok(facts) = std::fs::metadata(path) else { return Ok(None) };
    if facts.len() > LARGEST && said.is_some() {
        return Err(Error::new(ErrorKind::Format, format!("{path}: {} bytes are no subtitles", facts.len())));
    }
    if !facts.is_file() || facts.len() > LARGEST {
        return Ok(None);
    }
    let text = std::fs::read(path).map_err(named)?;
    if let Some(encoding) = of(&text, said)? {
        let text = encoding.decode(&text).0;
        let text = without_looks(&text).unwrap_or(text.into_owned());
        return Ok(Some((text.into_bytes(), Some(encoding.name()))));
    }
    let looks = std::str::from_utf8(&text).ok().and_then(without_looks);
    Ok(looks.map(|text| (text.into_bytes(), None)))
}

/// WebVTT without its blocks of styles and regions, if it has any: with them FFmpeg 5.1 finds no cue.
fn without_looks(text: &str) -> Option<String> {
    if !text.trim_start_matches('\u{feff}').starts_with("WEBVTT") {
        return None;
    }
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let looks = |block: &&str| {
        let first = block.trim_start_matches('\n').lines().next().unwrap_or_default().trim_end();
        matches!(first, "STYLE" | "REGION")
    };
    let blocks: Vec<&str> = text.split("\n\n").collect();
    let kept: Vec<&str> = blocks.iter().filter(|block| !looks(block)).copied().collect();
    (kept.len() < blocks.len()).then(|| kept.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeliest_set() {
        let name = |text: &[u8]| of(text, None).unwrap().map(Encoding::name);
        let coded = |encoding: &'static Encoding, text: &str| encoding.encode(text).0.into_owned();
        assert_eq!(name("Grüße, où est-il ?".as_bytes()), None);
        assert_eq!(name(b"plain"), None);
        assert_eq!(name(b"\xff\xfeG\x00"), None);
        assert_eq!(name(b"\x00\x00\x01\xba\xff"), None);
        for (encoding, text) in [
            (
                encoding_rs::WINDOWS_1252,
                "Où êtes-vous ? Là-bas, près de la forêt. Ça va très bien, n'est-ce pas ?",
            ),
            (encoding_rs::WINDOWS_1251, "Привет, как дела? Всё хорошо, спасибо. До свидания, друзья мои."),
            (encoding_rs::SHIFT_JIS, "こんにちは、世界。今日はいい天気ですね。"),
            (encoding_rs::GBK, "你好，世界。今天天气很好，我们去公园吧。"),
        ] {
            assert_eq!(name(&coded(encoding, text)), Some(encoding.name()), "{text}");
        }
        assert_eq!(of(b"\xe9", Some("latin1")).unwrap().map(Encoding::name), Some("windows-1252"));
        assert_eq!(of(b"\xe9", Some("utf8")).unwrap(), None);
        let styled = "WEBVTT\r\n\r\nSTYLE\r\n::cue { color: lime }\r\n\r\n\r\nREGION\r\nid:a\r\n\r\n00:00.500 --> 00:01.500\r\nHello\r\n";
        assert_eq!(without_looks(styled).as_deref(), Some("WEBVTT\n\n00:00.500 --> 00:01.500\nHello\n"));
        assert_eq!(without_looks("WEBVTT\n\n00:00.500 --> 00:01.500\nSTYLE\n"), None);
        assert!(of(b"\xe9", Some("klingon")).unwrap_err().to_string().starts_with("charset: \"klingon\""));
    }
}
