//! Which containers say how a picture is turned to be shown.

use super::{Facts, TrackHeader};
use crate::packet::VideoInfo;
use crate::spec::Container;
use ghoststream_sys::ffmpeg as av;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Matroska's element for the angle (`ProjectionPoseRoll`), a number of eight bytes.
const ROLL: [u8; 3] = [0x76, 0x75, 0x88];

impl Container {
    /// Whether what is written in it says by what angle a copied picture is turned to be shown, and whether it is mirrored. Of
    /// Matroska the FFmpeg that is loaded decides: its early versions leave it out. Of segments only fMP4 says it.
    pub fn keeps_rotation(self) -> bool {
        static MATROSKA: OnceLock<bool> = OnceLock::new();
        match self {
            Container::Mp4 | Container::Mov => true,
            Container::Hls | Container::Dash | Container::HlsDash => true,
            Container::Mkv | Container::WebM => *MATROSKA
                .get_or_init(|| header().is_ok_and(|bytes| bytes.windows(ROLL.len()).any(|w| w == ROLL))),
            _ => false,
        }
    }
}

/// Says which of `tracks` lose that in a file.
pub(super) fn tell(container: Container, facts: &Facts, tracks: &[TrackHeader]) {
    for track in tracks {
        let turned = track.stream.video.as_ref().and_then(VideoInfo::turned);
        if let Some(turned) = turned.filter(|_| !container.keeps_rotation()) {
            let label = if track.name.is_empty() { "video" } else { &track.name };
            let lost = format!("{} does not say so here, and shows it as it lies", container.name());
            facts.warn("output", format!("{label}: the picture is {turned}; {lost}"));
        }
    }
}

/// A file in memory that stays readable.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Cursor<Vec<u8>>>>);

impl Memory {
    fn with<T>(&self, act: impl FnOnce(&mut Cursor<Vec<u8>>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.with(|file| file.write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Memory {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.with(|file| file.seek(to))
    }
}

/// A Matroska file of one turned track without pictures.
fn header() -> av::Result<Vec<u8>> {
    let values = av::ParameterValues {
        kind: av::MediaType::Video,
        codec: "vp8".into(),
        width: 64,
        height: 64,
        ..av::ParameterValues::default()
    };
    let mut parameters = av::CodecParameters::new(&values)?;
    parameters.set_rotation(90.0, false);
    let file = Memory::default();
    let mut muxer = av::Muxer::create(av::MuxerOptions {
        format: Some("matroska".into()),
        url: "nowhere".into(),
        io: Some(av::Output::Seekable(Box::new(file.clone()))),
        interrupt: av::Interrupt::new(),
        io_options: Vec::new(),
    })?;
    muxer.add_stream(
        &parameters,
        &av::StreamOptions { time_base: (1, 1000), ..av::StreamOptions::default() },
    )?;
    muxer.write_header(&[])?;
    muxer.write_trailer()?;
    muxer.close()?;
    Ok(file.with(|file| file.get_ref().clone()))
}
