//! The multivariant playlist over what a segmented output has made.

use super::{Index, Rendition, unique};
use crate::package::hls::{
    IFrameVariant, Multivariant, Rendition as HlsRendition, RenditionKind, Variant, VideoRange,
};
use crate::package::{Track, audience};
use crate::packet::{Codec, MediaKind};
use crate::time::Timestamp;

/// Sounds that one variant offers to choose from.
#[derive(Default)]
struct Group<'a> {
    id: String,
    sounds: Vec<&'a Rendition>,
}

impl Group<'_> {
    /// Peak and average of the heaviest.
    fn bandwidth(&self, target: Timestamp) -> (u64, u64) {
        let all = self.sounds.iter().map(|r| r.bandwidth(target));
        all.fold((0, 0), |(peak, average), b| (peak.max(b.peak), average.max(b.average)))
    }

    /// Every format that is in any of them (RFC 8216, 4.3.4.2).
    fn codecs(&self) -> Vec<String> {
        let mut all = Vec::new();
        for codec in self.sounds.iter().flat_map(|r| r.codecs()) {
            if !all.contains(&codec) {
                all.push(codec);
            }
        }
        all
    }

    /// What they are named in a menu.
    fn renditions(&self) -> Vec<HlsRendition> {
        let unasked = audience::unasked(self.sounds.iter().map(|r| r.disposition()));
        let mut names = Vec::new();
        let named = |(index, r): (usize, &&Rendition)| {
            let name = unique(&mut names, r.title().unwrap_or_else(|| format!("Audio {}", index + 1)));
            let mut rendition = HlsRendition::new(RenditionKind::Audio, self.id.as_str(), name);
            rendition.uri = Some(format!("{}.m3u8", r.name));
            rendition.language = r.language();
            (rendition.default, rendition.autoselect) = (index == unasked, true);
            rendition.characteristics = audience::characteristics(r.disposition());
            rendition.channels = r.of_kind(MediaKind::Audio).map(|t| t.channels);
            rendition
        };
        self.sounds.iter().enumerate().map(named).collect()
    }
}

/// The groups of `sounds`. A player passes over a variant of which it lacks one format, so those of each codec are a group
/// of their own where it has every language; else there is one with everything, after one of the first codec alone.
fn groups<'a>(sounds: &[&'a Rendition]) -> Vec<Group<'a>> {
    let mut apart: Vec<(Codec, Group<'a>)> = Vec::new();
    for r in sounds {
        let Some(codec) = r.headers.first().map(|h| h.stream.codec.clone()) else { continue };
        match apart.iter_mut().find(|(known, _)| *known == codec) {
            Some((_, group)) => group.sounds.push(r),
            None => {
                let id = format!("audio-{}", codec.name());
                apart.push((codec, Group { id, sounds: vec![r] }));
            }
        }
    }
    let all = Group { id: "audio".into(), sounds: sounds.to_vec() };
    if apart.len() < 2 {
        return vec![all];
    }
    let languages = |group: &Group<'_>| {
        let mut all: Vec<_> = group.sounds.iter().map(|r| r.language()).collect();
        all.sort();
        all
    };
    let mut apart: Vec<_> = apart.into_iter().map(|(_, group)| group).collect();
    if !apart.iter().all(|group| languages(group) == languages(&apart[0])) {
        apart.truncate(1);
        apart.push(all);
    }
    apart
}

impl Rendition {
    fn title(&self) -> Option<String> {
        self.headers.iter().find_map(|h| h.stream.title.clone()).or_else(|| self.language())
    }

    fn i_frame_variant(&self, target: Timestamp) -> Option<IFrameVariant> {
        let keys = self.segments.iter().any(|m| m.segment.key_range.is_some());
        if self.kind != MediaKind::Video || !keys {
            return None;
        }
        let (b, picture) = (self.i_frame_bandwidth(target), self.of_kind(MediaKind::Video));
        Some(IFrameVariant {
            uri: format!("{}-iframes.m3u8", self.name),
            bandwidth: b.peak,
            average_bandwidth: Some(b.average),
            codecs: picture.map(|t| if self.ts { t.codecs_ts() } else { t.codecs() }).into_iter().collect(),
            resolution: picture.map(|t| (t.width, t.height)),
            video_range: picture.map(|t| VideoRange::of(t.colour)),
        })
    }
}

impl Index {
    /// What a player opens; with the I-frame playlists where they are asked for.
    pub(super) fn multivariant(&self, target: Timestamp, i_frames: bool) -> Multivariant {
        let of = |kind: MediaKind| self.renditions.iter().filter(|r| r.kind == kind).collect::<Vec<_>>();
        let (audio, video) = (of(MediaKind::Audio), of(MediaKind::Video));
        let mut list = Multivariant { independent_segments: true, ..Multivariant::default() };
        // Sound alone is the variants.
        let (main, groups) = match (video.is_empty(), audio.is_empty()) {
            (true, _) => (audio, vec![Group::default()]),
            (false, true) => (video, vec![Group::default()]),
            (false, false) => (video, groups(&audio)),
        };
        list.renditions = groups.iter().flat_map(Group::renditions).collect();
        let mut names: Vec<String> = Vec::new();
        for s in &self.subtitles {
            let mut r =
                HlsRendition::new(RenditionKind::Subtitles, "subs", unique(&mut names, s.menu_name()));
            r.uri = Some(format!("{}.m3u8", s.name));
            (r.language, r.default, r.autoselect) = (s.language.clone(), s.default, true);
            r.forced = s.disposition.forced;
            r.characteristics = audience::text_characteristics(s.disposition);
            list.renditions.push(r);
        }
        for group in &groups {
            // A variant's bandwidth is its own and that of the heaviest rendition that may play with it.
            let (peak, average) = group.bandwidth(target);
            for r in &main {
                let own = r.bandwidth(target);
                let picture = r.of_kind(MediaKind::Video);
                let mut codecs = r.codecs();
                codecs.extend(group.codecs());
                list.variants.push(Variant {
                    uri: format!("{}.m3u8", r.name),
                    bandwidth: own.peak + peak,
                    average_bandwidth: Some(own.average + average),
                    codecs,
                    supplemental_codecs: picture.and_then(Track::supplemental_codecs),
                    resolution: picture.map(|t| (t.width, t.height)),
                    frame_rate: picture.and_then(Track::frame_rate),
                    video_range: picture.map(|t| VideoRange::of(t.colour)),
                    audio: (!group.sounds.is_empty()).then(|| group.id.clone()),
                    subtitles: (!self.subtitles.is_empty()).then(|| "subs".into()),
                });
            }
        }
        if i_frames {
            list.i_frames = main.iter().filter_map(|r| r.i_frame_variant(target)).collect();
        }
        list
    }
}
