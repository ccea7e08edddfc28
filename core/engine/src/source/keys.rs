//! The key frames of a source, looked up when something must know them: from the container's index where it has one,
//! else from all packets.

use super::continuity::Continuity;
use super::open;
use crate::error::Result;
use crate::packet::{Packet, StreamInfo};
use crate::spec::SourceSpec;
use crate::time::{Rational, Rounding, Timestamp, rescale};
use ghoststream_sys::ffmpeg as av;

/// The key frames of a source that can be opened again.
pub(crate) struct Keys {
    source: SourceSpec,
    interrupt: av::Interrupt,
    /// Source time that is 0.
    begin: Timestamp,
}

impl Keys {
    /// Of `source`, `begin` taken as time 0. Nothing is read yet.
    pub fn new(source: &SourceSpec, interrupt: &av::Interrupt, begin: Timestamp) -> Self {
        Keys { source: source.clone(), interrupt: interrupt.clone(), begin }
    }

    /// What `judge` makes of the key frames of `stream`, in order. An index may list only some of them: if those do not
    /// satisfy `judge`, it is asked again with all. `None` where times jump.
    ///
    /// # Errors
    /// As [`open::open`], and those of reading.
    pub fn judged<T>(
        &self,
        stream: &StreamInfo,
        judge: impl Fn(&[Timestamp]) -> Option<T>,
    ) -> Result<Option<T>> {
        let mut demuxer = open::open(&self.source, &self.interrupt)?;
        for index in 0..demuxer.stream_count() {
            demuxer.set_discard(index, index != stream.index)?;
        }
        let base = stream.time_base;
        let shift = self.begin.to(base).ticks;
        let sorted = |mut times: Vec<i64>| -> Vec<Timestamp> {
            times.sort_unstable();
            times.dedup();
            times.into_iter().map(|t| Timestamp::new(t.saturating_sub(shift), base)).collect()
        };
        let format = demuxer.format_name();
        let listed = if format.starts_with("matroska") {
            cues(&mut demuxer, stream, shift)?
        } else if format.starts_with("mov,mp4") {
            samples(&mut demuxer, stream)?
        } else {
            None
        };
        if let Some(times) = listed {
            if let Some(found) = judge(&sorted(times)) {
                return Ok(Some(found));
            }
            demuxer.rewind()?;
        }
        let mut times = Vec::new();
        let mut continuity = demuxer.times_may_jump().then(|| Continuity::of(std::slice::from_ref(stream)));
        while let Some(packet) =
            demuxer.read().map_err(|e| open::reading(&self.source.label(), self.source.timeout, e))?
        {
            let jumps = |c: &mut Continuity| c.join(&mut Packet::from_av(&packet, base)).jump.is_some();
            if packet.stream_index() == stream.index && continuity.as_mut().is_some_and(jumps) {
                // Where the job puts what follows depends on its other streams too.
                return Ok(None);
            }
            if packet.stream_index() == stream.index && packet.is_key() {
                times.extend(packet.pts());
            }
        }
        Ok(judge(&sorted(times)))
    }
}

/// Matroska's cues, which are presentation times. They come with the first seek.
fn cues(demuxer: &mut av::Demuxer, stream: &StreamInfo, begin: i64) -> Result<Option<Vec<i64>>> {
    if demuxer.seek(Some(stream.index), begin, true).is_err() {
        return Ok(None);
    }
    Ok(Some(demuxer.index(stream.index).into_iter().filter(|(_, key)| *key).map(|(t, _)| t).collect()))
}

/// The sync samples of an MP4. Packets would call more of them key: recovery points, behind which a decoder that starts
/// there shows nothing whole for a while. The index has decode times; the packet itself says when it is shown. `None` where the index
/// is not of the whole (fragments) or does not lead where it says.
fn samples(demuxer: &mut av::Demuxer, stream: &StreamInfo) -> Result<Option<Vec<i64>>> {
    let index = demuxer.index(stream.index);
    let (Some((last, _)), Some(length)) = (index.last().copied(), stream.duration) else { return Ok(None) };
    let second = rescale(1, Rational::new(1, 1), stream.time_base, Rounding::Up).max(1);
    let keys: Vec<i64> = index.into_iter().filter(|(_, key)| *key).map(|(t, _)| t).collect();
    if last.saturating_add(second) < length.to(stream.time_base).ticks {
        return Ok(None);
    }
    let mut times = Vec::with_capacity(keys.len());
    for (n, key) in keys.iter().enumerate() {
        // As late as leads to this key sample and to no other: a seek wants the presentation time, which is not known.
        let ts = keys.get(n + 1).map_or(last.saturating_add(10 * second), |next| next - 1);
        if demuxer.seek(Some(stream.index), ts.max(*key), true).is_err() {
            return Ok(None);
        }
        match demuxer.read()? {
            Some(p) if p.stream_index() == stream.index && p.is_key() && p.dts() == Some(*key) => {
                times.extend(p.pts());
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(times))
}
