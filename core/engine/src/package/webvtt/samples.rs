//! WebVTT in fMP4 (`wvtt`, ISO/IEC 14496-30): every moment of the track is a sample, with the cues then shown.

use super::Cue;
use crate::package::boxes::Boxes;
use crate::package::cmaf::Sample;
use crate::time::{MICROSECONDS, Rational, Rounding, rescale};

/// The samples of the stretch from `start` to `end` (microseconds), in ticks of `timescale`: one per change of what is
/// shown, an empty one where nothing is. They are the input of [`crate::package::cmaf::write_chunk`].
pub fn samples(cues: &[Cue], start: i64, end: i64, timescale: u32) -> Vec<Sample> {
    let shown = |c: &&Cue| c.start < end && c.end > start;
    let mut times = vec![start, end];
    for cue in cues.iter().filter(shown) {
        times.extend([cue.start.max(start), cue.end.min(end)]);
    }
    times.sort_unstable();
    let base = Rational::new(1, i32::try_from(timescale.max(1)).unwrap_or(i32::MAX));
    let ticks = |t| rescale(t, MICROSECONDS, base, Rounding::Nearest);
    let mut out = Vec::new();
    for pair in times.windows(2) {
        let (from, to) = (ticks(pair[0]), ticks(pair[1]));
        if to <= from {
            continue;
        }
        let mut b = Boxes::default();
        for cue in cues.iter().filter(|c| c.start < pair[1] && c.end > pair[0]) {
            b.container(b"vttc", |b| {
                if let Some(id) = &cue.id {
                    b.container(b"iden", |b| {
                        b.bytes(id.as_bytes());
                    });
                }
                if !cue.settings.is_empty() {
                    b.container(b"sttg", |b| {
                        b.bytes(cue.settings.as_bytes());
                    });
                }
                b.container(b"payl", |b| {
                    b.bytes(cue.text.as_bytes());
                });
            });
        }
        if b.len() == 0 {
            b.container(b"vtte", |_| {});
        }
        out.push(Sample {
            data: b.into_bytes().into(),
            decode: from,
            offset: 0,
            duration: u32::try_from(to - from).unwrap_or(u32::MAX),
            key: true,
        });
    }
    out
}
