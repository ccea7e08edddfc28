//! Text subtitles beside the pictures: cues of a file, cut where the segments are.

use ghoststream::package::webvtt::{self, Cue};
use ghoststream::spec::SubtitleSpec;
use std::path::Path;

/// The longest subtitle file that is read.
const LONGEST: u64 = 16 << 20;

/// One track.
#[derive(Clone, Debug)]
pub(super) struct Subtitle {
    pub language: Option<String>,
    pub title: Option<String>,
    pub default: bool,
    pub cues: Vec<Cue>,
}

impl Subtitle {
    /// Reads the file of `spec`, time 0 of the output being `start` seconds of it. The error is in words.
    pub fn read(spec: &SubtitleSpec, start: f64) -> Result<Subtitle, String> {
        let path = spec.path.as_deref().ok_or("subtitles: only files can be offered beside the pictures")?;
        let path = Path::new(path);
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let size = std::fs::metadata(path).map_err(|e| format!("{name}: {e}"))?.len();
        if size > LONGEST {
            return Err(format!("{name}: longer than any subtitles"));
        }
        let bytes = std::fs::read(path).map_err(|e| format!("{name}: {e}"))?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\u{feff}');
        let cues = if text.starts_with("WEBVTT") {
            webvtt::parse(text).map_err(|e| format!("{name}: {e}"))?
        } else if text.contains("[Events]") {
            webvtt::parse_ass(text)
        } else {
            webvtt::parse_srt(text)
        };
        if cues.is_empty() {
            return Err(format!("{name}: no subtitles in it"));
        }
        let shift = (start * 1e6).round() as i64;
        let cues = cues
            .into_iter()
            .map(|cue| Cue { start: cue.start - shift, end: cue.end - shift, ..cue })
            .filter(|cue| cue.end > 0)
            .collect();
        Ok(Subtitle {
            language: spec.language.clone(),
            title: spec.title.clone(),
            default: spec.default,
            cues,
        })
    }

    /// The WebVTT of the cues shown from `start` to `end`; `mpegts`: the pictures' clock at 0.
    pub fn segment(&self, start: f64, end: f64, mpegts: i64) -> String {
        let micros = |t: f64| if t.is_finite() { (t * 1e6).round() as i64 } else { i64::MAX };
        webvtt::segment(&self.cues, if start <= 0.0 { i64::MIN } else { micros(start) }, micros(end), mpegts)
    }

    /// Everything in one file, for DASH.
    pub fn file(&self) -> String {
        webvtt::file(&self.cues)
    }
}
