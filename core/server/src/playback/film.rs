//! A film that is made in parts, by several machines: which files there are, and the documents of runs that make some of them.
//!
//! The same plan gives the same files, whoever makes them: where each segment begins is known before any is made, and a run
//! that begins in the middle makes what one from the beginning would have made.

use super::decide::{Method, Verdict};
use super::document::Shape;
use super::session::Load;
use super::subtitles::{FilmText, Subtitle};
use super::timeline::Timeline;
use super::{key_frame, playlists};
use ghoststream::PipelineSpec;
use ghoststream::spec::{Container, SegmentContainer, SubtitleChoice};
use serde_json::Value;
use std::path::Path;

/// What is in a film's plan, seen from the directory where some of it is made.
#[derive(Clone, Debug)]
pub struct Film {
    shape: Shape,
    subtitles: Vec<Subtitle>,
}

/// A file of a film.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilmFile {
    /// Its name below the film's directory.
    pub name: String,
    /// What it is.
    pub content_type: &'static str,
    /// What is in it.
    pub data: Vec<u8>,
}

const SEGMENT: &str = "video/iso.segment";
const HLS: &str = "application/vnd.apple.mpegurl";
const VTT: &str = "text/vtt; charset=utf-8";

impl Film {
    /// What `spec` makes of the source that `probe` describes, in `directory`: HLS and DASH over the same fMP4 segments, and
    /// `texts` beside them.
    ///
    /// # Errors
    /// In words: its length is not known, it cannot be read from any place, or something is asked for that parts cannot have.
    pub fn new(
        spec: &PipelineSpec,
        probe: &Value,
        texts: &[FilmText],
        directory: &Path,
    ) -> Result<Film, String> {
        let mut spec = spec.clone();
        let output = spec.outputs.first_mut().ok_or("nothing is asked for")?;
        if !matches!(output.subtitles, SubtitleChoice::None | SubtitleChoice::Default) {
            return Err("subtitles are beside the document of a film that several nodes make".into());
        }
        let mut segment = output.segment.clone().unwrap_or_default();
        segment.container = SegmentContainer::Fmp4;
        let target = segment.duration.0;
        output.segment = Some(segment);
        output.format = Some(Container::HlsDash);
        if probe["seekable"].as_bool() != Some(true) {
            return Err("the source cannot be read from another place than its beginning".into());
        }
        let start = spec.source.start.map_or(0.0, |s| s.0);
        let timeline =
            Timeline::encoded(probe, target, None, start).ok_or("the length of the source is not known")?;
        let verdict =
            Verdict { method: Method::Transcode, keep_audio: false, reason: "several nodes make it".into() };
        let subtitles = texts.iter().map(Subtitle::of_film).collect::<Result<_, _>>()?;
        Ok(Film { shape: Shape::new(&spec, probe, &verdict, timeline, directory)?, subtitles })
    }

    /// How many segments each rendition has.
    pub fn count(&self) -> u64 {
        self.shape.count()
    }

    /// Length of a segment in seconds, as asked for.
    pub fn duration(&self) -> f64 {
        self.shape.timeline.duration()
    }

    /// The document of a run that makes segments `first` to before `end` of all renditions, and what they begin with.
    pub fn document(&self, first: u64, end: u64) -> PipelineSpec {
        let all: Vec<usize> = (0..self.shape.renditions.len()).collect();
        self.shape.document(&all, first, end, false, &Load::default())
    }

    /// The document of a run that reads the text that is in the source, if some is. The part with the first segment has all text
    /// in it: a cue may begin long before the segment that it is shown in.
    pub fn texts(&self) -> Option<PipelineSpec> {
        let streams: Vec<usize> = self.subtitles.iter().filter_map(Subtitle::stream).collect();
        (!streams.is_empty()).then(|| self.shape.texts(&streams))
    }

    /// The names of all files that such a run adds, besides the init segments that every run makes.
    pub fn segments(&self, first: u64, end: u64) -> Vec<String> {
        let of = |r: usize| (first..end.min(self.count())).map(move |n| (r, n));
        let mut names: Vec<String> =
            (0..self.shape.renditions.len()).flat_map(of).map(|(r, n)| self.shape.path(r, n)).collect();
        if let Some(r) = self.shape.scrubbed() {
            names.extend((first..end.min(self.count())).map(|n| self.key_frame(r, n)));
        }
        if first == 0 {
            for index in 0..self.subtitles.len() {
                names.extend((0..self.count()).map(|n| format!("subtitles-{index}/{n:05}.vtt")));
                names.push(format!("subtitles-{index}.vtt"));
            }
        }
        names
    }

    /// The names of the init segments.
    pub fn inits(&self) -> Vec<String> {
        self.shape.renditions.iter().map(|r| format!("{}/init.mp4", r.name)).collect()
    }

    fn key_frame(&self, rendition: usize, number: u64) -> String {
        let name = self.shape.renditions.get(rendition).map_or("", |r| &r.name);
        format!("{name}/key-{number:05}.m4s")
    }

    /// What a run has made of segments `first` to before `end`, init segments first: read from the directory.
    ///
    /// # Errors
    /// A file that should be there and is not.
    pub fn collect(&self, first: u64, end: u64) -> std::io::Result<Vec<FilmFile>> {
        let read = |name: &str| {
            std::fs::read(self.shape.directory.join(name))
                .map_err(|e| std::io::Error::new(e.kind(), format!("{name}: {e}")))
        };
        let mut files = Vec::new();
        for name in self.inits() {
            files.push(FilmFile { data: read(&name)?, name, content_type: "video/mp4" });
        }
        for rendition in 0..self.shape.renditions.len() {
            for number in first..end.min(self.count()) {
                let name = self.shape.path(rendition, number);
                let data = read(&name)?;
                if self.shape.scrubbed() == Some(rendition) {
                    let end = key_frame::end(&data, false).unwrap_or(data.len());
                    let name = self.key_frame(rendition, number);
                    files.push(FilmFile { name, content_type: SEGMENT, data: data[..end].to_vec() });
                }
                files.push(FilmFile { name, content_type: SEGMENT, data });
            }
        }
        if first == 0 {
            for (index, subtitle) in self.subtitles.iter().enumerate() {
                // What could not be read has no words.
                let read = |stream| match std::fs::read_to_string(self.shape.text(stream)) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok("WEBVTT\n\n".into()),
                    read => read,
                };
                let track = subtitle.filled(read)?;
                files.extend(self.words(index, &track));
            }
        }
        Ok(files)
    }

    /// All files of a track of text but its playlist.
    fn words(&self, index: usize, track: &Subtitle) -> Vec<FilmFile> {
        let file = |name: String, text: String| FilmFile { name, content_type: VTT, data: text.into_bytes() };
        let segments = &self.shape.timeline.segments;
        let mut files: Vec<FilmFile> = segments
            .iter()
            .enumerate()
            .map(|(n, (start, length))| {
                let end = if n + 1 == segments.len() { f64::INFINITY } else { start + length };
                file(format!("subtitles-{index}/{n:05}.vtt"), track.segment(*start, end, 0))
            })
            .collect();
        files.push(file(format!("subtitles-{index}.vtt"), track.file()));
        files
    }

    /// The playlists and the manifest, media playlists first; `inits` are the init segments in the order of their names.
    pub fn playlists(&self, inits: &[Vec<u8>]) -> Vec<FilmFile> {
        let shape = &self.shape;
        let known: Vec<Option<String>> =
            inits.iter().map(|bytes| playlists::read_codecs(bytes, false)).collect();
        let file = |name: String, content_type, text: String| FilmFile {
            name,
            content_type,
            data: text.into_bytes(),
        };
        let mut files: Vec<FilmFile> = shape
            .renditions
            .iter()
            .enumerate()
            .map(|(n, r)| file(format!("{}.m3u8", r.name), HLS, playlists::media(shape, n)))
            .collect();
        if let Some((n, r)) = shape.scrubbed().and_then(|n| Some((n, shape.renditions.get(n)?))) {
            files.push(file(format!("{}-iframes.m3u8", r.name), HLS, playlists::key_frames(shape, n)));
        }
        let texts = (0..self.subtitles.len()).map(|n| (n, playlists::subtitle(shape, n)));
        files.extend(texts.map(|(n, text)| file(format!("subtitles-{n}.m3u8"), HLS, text)));
        let texts = &self.subtitles;
        let dash = playlists::manifest(shape, texts, &known);
        files.push(file("manifest.mpd".into(), "application/dash+xml", dash));
        files.push(file("master.m3u8".into(), HLS, playlists::multivariant(shape, texts, &known, false)));
        files
    }
}
