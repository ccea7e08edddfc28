//! Text tracks as WebVTT renditions: as many segments as the pictures have, each with the cues that are shown in it. Whole
//! segments only; a cue that comes when its segment is closed is in the next one.

use ghoststream::Codec;
use ghoststream::package::webvtt::{self, Cue};
use ghoststream::package::{Event, Segment, Track};
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::Timestamp;

/// More cues are not kept of one track; a minute of the fastest speech is some 40.
const CUES: usize = 1000;

/// One text track of a run.
pub(super) struct Text {
    /// The stream's track, and its window.
    pub track: usize,
    pub group: usize,
    codec: Codec,
    cues: Vec<Waiting>,
}

struct Waiting {
    cue: Cue,
    told: bool,
}

/// Whether a track can become WebVTT.
pub(super) fn is_text(info: &StreamInfo) -> bool {
    info.kind == MediaKind::Subtitle && info.codec.is_text_subtitle()
}

impl Text {
    /// Track `track` of a stream, for the window at `group`.
    pub fn new(track: usize, group: usize, info: &StreamInfo) -> Text {
        Text { track, group, codec: info.codec.clone(), cues: Vec::new() }
    }

    /// Takes a packet of the track; says whether it could be read.
    pub fn add(&mut self, packet: &Packet) -> bool {
        let Ok(cue) = Cue::from_packet(&self.codec, packet, 0) else { return false };
        if let Some(cue) = cue.filter(|_| self.cues.len() < CUES) {
            self.cues.push(Waiting { cue, told: false });
        }
        true
    }

    /// The segment beside one of the pictures.
    pub fn segment(&mut self, sequence: u64, start: Timestamp, duration: Timestamp) -> Event {
        let (from, to) = (start.micros(), start.micros() + duration.micros());
        let mut shown = Vec::new();
        for waiting in self.cues.iter_mut().filter(|w| w.cue.start < to && (w.cue.end > from || !w.told)) {
            waiting.told = true;
            shown.push(waiting.cue.clone());
        }
        self.cues.retain(|w| w.cue.end > to || !w.told);
        let text = webvtt::segment(&shown, i64::MIN, i64::MAX, 0);
        Event::Segment(Segment {
            group: self.group,
            sequence,
            start,
            duration,
            independent: true,
            chunks: vec![text.into()],
            key_range: None,
        })
    }
}

/// A text track as players are told of it.
pub(super) fn described(info: &StreamInfo) -> Option<Track> {
    let text = StreamInfo { codec: Codec::WebVtt, extradata: Default::default(), ..info.clone() };
    Track::new(&text, None).ok()
}

/// The segments of all `texts` beside those of the leading window, `lead`, that are among `events`.
pub(super) fn beside(texts: &mut [Text], lead: usize, events: &[Event]) -> Vec<Event> {
    let mut made = Vec::new();
    for event in events {
        if let Event::Segment(segment) = event
            && segment.group == lead
        {
            for text in texts.iter_mut() {
                made.push(text.segment(segment.sequence, segment.start, segment.duration));
            }
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ghoststream::time::Rational;

    const MS: Rational = Rational::new(1, 1000);

    fn cue(text: &mut Text, start: i64, end: i64, words: &'static str) {
        assert!(text.add(&Packet::new(Bytes::from_static(words.as_bytes()), start, end - start, MS)));
    }

    fn words(event: Event) -> String {
        let Event::Segment(segment) = event else { panic!("no segment") };
        String::from_utf8(segment.bytes().to_vec()).unwrap()
    }

    #[test]
    fn cues_are_in_every_segment_that_shows_them_and_late_ones_in_the_next() {
        let mut info = StreamInfo::new(MediaKind::Subtitle, Codec::SubRip, MS);
        info.language = Some("de".into());
        let mut text = Text::new(2, 5, &info);
        let time = |ms| Timestamp::new(ms, MS);
        cue(&mut text, 500, 2500, "one");
        cue(&mut text, 2100, 2200, "two");
        assert_eq!(described(&info).unwrap().codecs(), "wvtt");
        let first = words(text.segment(0, time(0), time(2000)));
        assert!(first.contains("00:00:00.500 --> 00:00:02.500\none") && !first.contains("two"), "{first}");
        cue(&mut text, 1000, 1500, "late");
        let second = words(text.segment(1, time(2000), time(2000)));
        assert!(second.contains("one") && second.contains("two") && second.contains("late"), "{second}");
        let third = words(text.segment(2, time(4000), time(2000)));
        assert_eq!(third, "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n");
        assert!(text.cues.is_empty());
    }
}
