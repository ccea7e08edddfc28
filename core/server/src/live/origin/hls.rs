//! HLS playlists of an origin's windows.

use super::learn::Shape;
use super::names::File;
use super::window::{Piece, Stored, Window};
use ghoststream::frame::Colour;
use ghoststream::package::Track;
use ghoststream::package::hls::{
    IFrameVariant, LowLatency, Map, MediaPart, MediaPlaylist, MediaSegment, Multivariant, PlaylistKind,
    PreloadHint, Rendition, RenditionKind, RenditionReport, Variant, VideoRange,
};
use ghoststream::packet::MediaKind;

/// What all playlists of an origin share.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The token of this opening.
    pub token: String,
    /// The target durations.
    pub shape: Shape,
    /// Wall-clock time of the stream's time 0, in microseconds since 1970.
    pub epoch: i64,
    /// Whether there are parts.
    pub low_latency: bool,
    /// Whether nothing comes any more.
    pub ended: bool,
    /// The run that has begun, and whose init segments are not there yet.
    pub coming: Option<u64>,
}

const GROUP: &str = "audio";

impl Facts {
    fn target(&self) -> i64 {
        i64::from(self.shape.target) * 1_000_000
    }

    fn server_control(&self) -> Option<LowLatency> {
        self.low_latency.then(|| LowLatency {
            part_target: self.shape.part,
            part_hold_back: 3 * self.shape.part,
            hold_back: 3 * self.target(),
            can_skip_until: Some(6 * self.target()),
            can_block_reload: true,
        })
    }

    fn map(&self, window: &Window, run: u64) -> Option<Map> {
        Some(Map { uri: File::Init(run).name(&window.id, &self.token), range: None })
    }

    fn parts(&self, window: &Window, first: u64, parts: &[Piece]) -> Vec<MediaPart> {
        let part = |(i, piece): (usize, &Piece)| MediaPart {
            uri: File::Part(first + i as u64).name(&window.id, &self.token),
            duration: piece.duration,
            independent: piece.independent,
            range: None,
            gap: false,
        };
        parts.iter().enumerate().map(part).collect()
    }

    fn entry(&self, window: &Window, sequence: u64, segment: &Stored, parts: bool) -> MediaSegment {
        let uri = File::Segment(sequence).name(&window.id, &self.token);
        MediaSegment {
            // A run that this rendition has no part in has no init segment for it either.
            map: if segment.gap { None } else { self.map(window, segment.run) },
            discontinuity: segment.discontinuity,
            program_date_time: Some(self.epoch + segment.start.micros()),
            gap: segment.gap,
            parts: if parts { self.parts(window, segment.first_part, &segment.parts) } else { Vec::new() },
            ..MediaSegment::new(uri, segment.duration)
        }
    }

    /// The media playlist of `window`; `others` are the other renditions. With `skip` what a client must know already is
    /// left out, if that is anything.
    pub fn media(&self, window: &Window, others: &[&Window], skip: bool) -> MediaPlaylist {
        let (first, listed) = window.listed();
        let listed: Vec<&Stored> = listed.collect();
        let lengths: Vec<i64> = listed.iter().map(|s| s.duration.micros()).collect();
        let open = window.open();
        let tail: i64 = open.map_or(0, |o| o.parts.iter().map(|p| p.duration).sum());
        // How far each segment's end is from the end of the playlist.
        let mut ages = vec![0; lengths.len()];
        let mut age = tail;
        for (i, length) in lengths.iter().enumerate().rev() {
            ages[i] = age;
            age += length;
        }
        let mut skipped = 0;
        if skip && self.low_latency {
            skipped = ages.iter().take_while(|age| **age > 6 * self.target()).count();
            // The first segment behind the skipped ones says its init segment only if it is not theirs.
            while skipped > 0
                && listed.get(skipped).is_some_and(|s| s.discontinuity || listed[skipped - 1].gap != s.gap)
            {
                skipped -= 1;
            }
        }
        let with_parts = |i: usize| self.low_latency && ages[i] < 3 * self.target();
        let segments = listed.iter().enumerate().skip(skipped);
        let discontinuity_sequence = match (listed.first(), open) {
            (Some(first), _) => first.run - u64::from(first.discontinuity),
            (None, Some(open)) => open.run,
            (None, None) => 0,
        };
        MediaPlaylist {
            kind: PlaylistKind::Live,
            target_duration: self.shape.target,
            media_sequence: first,
            discontinuity_sequence,
            // Pictures may be cut where there is no key frame (see the module's description); sound never is.
            independent_segments: window.kind == MediaKind::Audio,
            low_latency: self.server_control(),
            skipped: skipped as u64,
            segments: segments.map(|(i, s)| self.entry(window, first + i as u64, s, with_parts(i))).collect(),
            open_parts: open
                .filter(|_| self.low_latency)
                .map_or(Vec::new(), |o| self.parts(window, o.first_part, &o.parts)),
            open_discontinuity: self.low_latency && open.is_some_and(|o| o.discontinuity),
            open_map: open.filter(|_| self.low_latency).and_then(|o| self.map(window, o.run)),
            open_date_time: open.filter(|_| self.low_latency).map(|o| self.epoch + o.start.micros()),
            hints: self.hints(window),
            reports: self.reports(others),
            ended: self.ended,
            ..MediaPlaylist::default()
        }
    }

    fn hints(&self, window: &Window) -> Vec<PreloadHint> {
        if !self.low_latency || self.ended {
            return Vec::new();
        }
        let hint = |map, file: File| PreloadHint { map, uri: file.name(&window.id, &self.token), start: 0 };
        let map = self.coming.filter(|_| window.live).map(|run| hint(true, File::Init(run)));
        map.into_iter().chain([hint(false, File::Part(window.next_part()))]).collect()
    }

    fn reports(&self, others: &[&Window]) -> Vec<RenditionReport> {
        if !self.low_latency || self.ended {
            return Vec::new();
        }
        let report = |window: &&Window| {
            let (last_sequence, last_part) = window.last()?;
            let uri = File::Playlist.name(&window.id, &self.token);
            Some(RenditionReport { uri, last_sequence, last_part })
        };
        others.iter().filter_map(report).collect()
    }

    /// The I-frame playlist of `window`: no parts, and its own numbers.
    pub fn keys(&self, window: &Window) -> MediaPlaylist {
        let (first, listed) = window.listed();
        let listed: Vec<&Stored> = listed.collect();
        let entries = listed.iter().enumerate().filter_map(|(i, segment)| {
            let mut entry = self.entry(window, first + i as u64, segment, false);
            entry.range = Some(segment.key_range.clone()?);
            Some(entry)
        });
        let shown = listed.iter().find(|s| s.key_range.is_some());
        MediaPlaylist {
            kind: PlaylistKind::Live,
            target_duration: self.shape.target,
            media_sequence: shown.or(listed.last()).map_or(0, |s| s.keys_before),
            discontinuity_sequence: shown.map_or(0, |s| s.run - u64::from(s.discontinuity)),
            i_frames_only: true,
            segments: entries.collect(),
            ended: self.ended,
            ..MediaPlaylist::default()
        }
    }

    /// The multivariant playlist of the renditions that are made now (of all, where none is).
    pub fn multivariant(&self, windows: &[Window]) -> Multivariant {
        let known: Vec<(&Window, &Track)> =
            windows.iter().filter_map(|w| Some((w, w.track.as_ref()?))).collect();
        let any_live = known.iter().any(|(w, _)| w.live);
        let of = |kind| {
            known.iter().copied().filter(move |(w, _)| w.kind == kind && (w.live || !any_live)).collect()
        };
        let videos: Vec<(&Window, &Track)> = of(MediaKind::Video);
        let sounds: Vec<(&Window, &Track)> = of(MediaKind::Audio);
        let heaviest = sounds.iter().map(|(w, _)| w.bandwidth()).max_by_key(|(_, peak)| *peak);
        let (sound_average, sound_peak) = heaviest.unwrap_or((0, 0));
        let sound_codecs: Vec<String> = sounds.iter().map(|(_, t)| t.codecs()).collect();
        let alone = videos.is_empty();
        // Sound that plays alone is a variant, and needs to be a rendition only where there is a choice.
        let group = (sounds.len() > usize::from(alone)).then(|| GROUP.to_string());
        let mut variants = Vec::new();
        let mut i_frames = Vec::new();
        for (window, track) in &videos {
            let (average, peak) = window.bandwidth();
            let range = (track.colour != Colour::default()).then(|| VideoRange::of(track.colour));
            variants.push(Variant {
                uri: File::Playlist.name(&window.id, &self.token),
                bandwidth: peak + sound_peak,
                average_bandwidth: Some(average + sound_average),
                codecs: [vec![track.codecs()], sound_codecs.clone()].concat(),
                supplemental_codecs: track.supplemental_codecs(),
                resolution: Some((track.width, track.height)),
                frame_rate: track.frame_rate(),
                video_range: Some(range.unwrap_or_default()),
                audio: group.clone(),
                subtitles: None,
            });
            let keys: Vec<&Stored> = window.listed().1.filter(|s| s.key_range.is_some()).collect();
            let bits = |s: &&Stored| {
                let bytes = s.key_range.as_ref().map_or(0, |r| r.end - r.start);
                (bytes as f64 * 8.0 / s.duration.seconds().max(0.001)) as u64
            };
            if let Some(most) = keys.iter().map(bits).max() {
                i_frames.push(IFrameVariant {
                    uri: File::Keys.name(&window.id, &self.token),
                    bandwidth: most.max(1),
                    average_bandwidth: Some(keys.iter().map(bits).sum::<u64>() / keys.len() as u64),
                    codecs: vec![track.codecs()],
                    resolution: Some((track.width, track.height)),
                    video_range: Some(range.unwrap_or_default()),
                });
            }
        }
        if let (true, Some((window, _))) = (alone, sounds.first()) {
            variants.push(Variant {
                uri: File::Playlist.name(&window.id, &self.token),
                bandwidth: sound_peak,
                average_bandwidth: Some(sound_average),
                codecs: sound_codecs,
                audio: group.clone(),
                ..Variant::default()
            });
        }
        let renditions = sounds.iter().enumerate().filter_map(|(i, (window, track))| {
            let mut rendition = Rendition::new(RenditionKind::Audio, group.as_deref()?, sound_name(i, track));
            rendition.uri = Some(File::Playlist.name(&window.id, &self.token));
            rendition.language = track.info.language.clone();
            rendition.default = i == 0;
            rendition.autoselect = true;
            rendition.channels = Some(track.channels);
            Some(rendition)
        });
        Multivariant { renditions: renditions.collect(), variants, i_frames, independent_segments: false }
    }
}

/// What a menu shows: unique, as the count is in it where there are more.
pub(super) fn sound_name(index: usize, track: &Track) -> String {
    let name = track.info.title.clone().or(track.info.language.clone());
    match (index, name) {
        (0, Some(name)) => name,
        (0, None) => "Audio".into(),
        (n, Some(name)) => format!("{name} {}", n + 1),
        (n, None) => format!("Audio {}", n + 1),
    }
}
