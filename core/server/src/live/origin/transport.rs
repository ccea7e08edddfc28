//! The same packets as MPEG-TS segments, for players that know nothing else: each picture track with the first sound in it,
//! further sounds by themselves. They are cut where the others are.

use super::learn::Shape;
use super::maker::{Place, packaging};
use ghoststream::package::{Container, Event, Options, Segmenter, TrackSpec};
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::{Codec, Result};

/// A run's second segmenter.
pub(super) struct Transport {
    segmenter: Segmenter,
    /// The segmenter's tracks of each of the stream's.
    places: Vec<Vec<usize>>,
}

/// What old players take in a transport stream.
fn carried(info: &StreamInfo) -> bool {
    matches!(info.codec, Codec::H264 | Codec::Hevc | Codec::Aac | Codec::Mp3 | Codec::Ac3 | Codec::Eac3)
}

/// What goes into one rendition: its name, its kind, and the stream's tracks.
pub(super) struct Together {
    pub id: String,
    pub kind: MediaKind,
    pub tracks: Vec<usize>,
}

/// What is made of the tracks in `present`, which are called `ids`; nothing where the track that decides the cuts, `lead`, has
/// no place in MPEG-TS.
pub(super) fn plan(streams: &[StreamInfo], ids: &[String], present: &[usize], lead: usize) -> Vec<Together> {
    let of = |kind: MediaKind| -> Vec<usize> {
        let fits = |i: &usize| streams.get(*i).is_some_and(|s| s.kind == kind && carried(s));
        present.iter().copied().filter(fits).collect()
    };
    let (mut videos, sounds) = (of(MediaKind::Video), of(MediaKind::Audio));
    if !streams.get(lead).is_some_and(carried) {
        return Vec::new();
    }
    // The first one decides the cuts here too.
    videos.sort_by_key(|i| *i != lead);
    let name = |i: usize| format!("t{}", ids.get(i).map_or("", String::as_str));
    let first = sounds.first().copied().filter(|_| !videos.is_empty());
    let mut all: Vec<Together> = Vec::new();
    for video in videos {
        let tracks = [Some(video), first].into_iter().flatten().collect();
        all.push(Together { id: name(video), kind: MediaKind::Video, tracks });
    }
    for sound in sounds.into_iter().filter(|s| Some(*s) != first) {
        all.push(Together { id: name(sound), kind: MediaKind::Audio, tracks: vec![sound] });
    }
    all
}

impl Transport {
    /// Makes the renditions of `plan`, whose windows are at `groups`.
    pub fn new(
        streams: &[StreamInfo],
        plan: &[Together],
        groups: &[usize],
        place: &Place<'_>,
        shape: Shape,
    ) -> Result<Transport> {
        let mut places = vec![Vec::new(); streams.len()];
        let mut specs = Vec::new();
        for (rendition, group) in plan.iter().zip(groups) {
            for &track in &rendition.tracks {
                if let (Some(info), Some(of)) = (streams.get(track), places.get_mut(track)) {
                    of.push(specs.len());
                    specs.push(TrackSpec { info: info.clone(), group: *group });
                }
            }
        }
        let options =
            Options { part: None, key_chunk: false, wall: None, ..packaging(place, shape, Container::Ts)? };
        Ok(Transport { segmenter: Segmenter::new(specs, options)?, places })
    }

    /// Takes a packet of the stream.
    pub fn push(&mut self, packet: &Packet) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for &track in self.places.get(packet.stream).into_iter().flatten() {
            events.extend(self.segmenter.push(track, packet)?);
        }
        Ok(events)
    }

    /// The last segments.
    pub fn finish(&mut self) -> Result<Vec<Event>> {
        self.segmenter.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::time::Rational;

    fn made(codecs: &[Codec], lead: usize) -> Vec<(String, Vec<usize>)> {
        let info = |codec: &Codec| {
            let video = matches!(codec, Codec::H264 | Codec::Av1);
            let kind = if video { MediaKind::Video } else { MediaKind::Audio };
            StreamInfo::new(kind, codec.clone(), Rational::new(1, 1000))
        };
        let streams: Vec<StreamInfo> = codecs.iter().map(info).collect();
        let ids: Vec<String> = (0..codecs.len()).map(|i| format!("x{i}")).collect();
        let present: Vec<usize> = (0..codecs.len()).collect();
        plan(&streams, &ids, &present, lead).into_iter().map(|t| (t.id, t.tracks)).collect()
    }

    #[test]
    fn sounds_go_with_pictures() {
        let of = |id: &str, tracks: &[usize]| (id.to_string(), tracks.to_vec());
        let ladder = made(&[Codec::H264, Codec::H264, Codec::Aac, Codec::Ac3], 0);
        assert_eq!(ladder, [of("tx0", &[0, 2]), of("tx1", &[1, 2]), of("tx3", &[3])]);
        assert_eq!(made(&[Codec::Opus, Codec::H264], 1), [of("tx1", &[1])]);
        assert_eq!(made(&[Codec::Aac, Codec::Mp3], 0), [of("tx0", &[0]), of("tx1", &[1])]);
        assert!(made(&[Codec::Av1, Codec::Aac], 0).is_empty());
    }
}
