//! Going to where decoding must begin for what is shown at a time. Everything that seeks by time does it here: the start
//! of a job, its repetitions, a head start, a reader.

use crate::error::Result;
use crate::packet::{MediaKind, StreamInfo};
use crate::time::{MICROSECONDS, Rounding, TimeBase, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;

/// How much earlier is tried, in seconds: formats without an index (transport streams) land near the time that they are
/// asked for, not at a key frame before it. After the last comes the beginning.
const BACK: [i64; 5] = [0, 1, 4, 12, 40];
/// Packets among which the first key frame must be for it to be worth looking on.
const LOOK: usize = 2000;

/// How a source is sought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeker {
    /// The stream whose key packets count, and its base.
    stream: Option<(usize, TimeBase)>,
    /// Where the source begins, in microseconds.
    begin: i64,
}

impl Seeker {
    /// By the first stream of pictures, or of sound if there is none, of a source that begins at `begin`.
    pub fn of(streams: &[StreamInfo], begin: Timestamp) -> Self {
        let picture = |s: &&StreamInfo| s.kind == MediaKind::Video && !s.disposition.attached_picture;
        let first = streams.iter().find(picture).or(streams.iter().find(|s| s.kind == MediaKind::Audio));
        Seeker { stream: first.map(|s| (s.index, s.time_base)), begin: begin.micros() }
    }

    /// By one stream.
    pub fn by(stream: &StreamInfo, begin: Timestamp) -> Self {
        Seeker { stream: Some((stream.index, stream.time_base)), begin: begin.micros() }
    }

    /// Index of the stream whose key packets count.
    pub fn stream(&self) -> Option<usize> {
        self.stream.map(|(index, _)| index)
    }

    /// Places to begin at for what is shown at `at`, each earlier than the one before.
    pub fn places(&self, at: Timestamp) -> Places {
        Places { seeker: *self, at: at.micros(), tried: 0 }
    }

    /// Goes to a place from which everything that is shown at `at` can be decoded. Gives the time of the first key packet
    /// there; `None` at the beginning.
    ///
    /// # Errors
    /// Those of the demuxer, above all that it cannot seek.
    pub fn before(&self, demuxer: &mut av::Demuxer, at: Timestamp) -> Result<Option<Timestamp>> {
        let mut places = self.places(at);
        while places.next(demuxer)? {
            if places.is_beginning() {
                return Ok(None);
            }
            if let Some(key) = self.first_key(demuxer)?.filter(|key| *key <= at.micros()) {
                // Reading on has moved it.
                places.again(demuxer)?;
                return Ok(Some(Timestamp::new(key, MICROSECONDS)));
            }
        }
        Ok(None)
    }

    /// The time of the first key packet from here, in microseconds.
    fn first_key(&self, demuxer: &mut av::Demuxer) -> Result<Option<i64>> {
        let Some((stream, base)) = self.stream else { return Ok(None) };
        for _ in 0..LOOK {
            let Some(packet) = demuxer.read()? else { break };
            if packet.stream_index() == stream && packet.is_key() {
                return Ok(packet.pts().or(packet.dts()).map(|t| Timestamp::new(t, base).micros()));
            }
        }
        Ok(None)
    }
}

/// Places before a time; the last is the beginning.
pub(crate) struct Places {
    seeker: Seeker,
    at: i64,
    tried: usize,
}

impl Places {
    /// Goes to the next place; `false` when the one before was the beginning.
    ///
    /// # Errors
    /// Those of the demuxer.
    pub fn next(&mut self, demuxer: &mut av::Demuxer) -> Result<bool> {
        if self.is_beginning() {
            return Ok(false);
        }
        self.tried += 1;
        self.again(demuxer)?;
        Ok(true)
    }

    fn is_beginning(&self) -> bool {
        self.tried > 0 && self.place().is_none()
    }

    /// The present place; `None` is the beginning.
    fn place(&self) -> Option<i64> {
        let back = BACK.get(self.tried.checked_sub(1)?)?;
        Some(self.at.saturating_sub(back * 1_000_000)).filter(|at| *at > self.seeker.begin)
    }

    fn again(&self, demuxer: &mut av::Demuxer) -> Result<()> {
        match (self.place(), self.seeker.stream) {
            (None, _) => demuxer.rewind()?,
            (Some(at), Some((stream, base))) => {
                demuxer.seek(Some(stream), rescale(at, MICROSECONDS, base, Rounding::Nearest), true)?
            }
            (Some(at), None) => demuxer.seek(None, at, true)?,
        }
        Ok(())
    }
}
