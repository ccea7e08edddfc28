//! Text tracks beside the pictures: for HLS as WebVTT renditions, of as many segments and parts as the pictures have, each a file with
//! the cues that are shown in it; for DASH as the same text in CMAF (`wvtt`, ISO/IEC 14496-30), in step with the pictures' parts, whose every moment is a
//! sample: one that says so (`vtte`) where nothing is shown.
//!
//! A cue that comes when its time is packaged already is told of late: in WebVTT with its own times in the next part, in CMAF, where
//! a sample has no other time than its own, from then on (for as long as it was to be, where all of its time is over).

use bytes::Bytes;
use ghoststream::package::cmaf::{self, ChunkOptions, ProducerReference};
use ghoststream::package::webvtt::{self, Cue};
use ghoststream::package::{Event, Part, Segment, Track};
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::{MICROSECONDS, Timestamp};
use ghoststream::{Codec, Error, Result};

/// More cues are not kept of one track; a minute of the fastest speech is some 40.
const CUES: usize = 1000;

/// One text track of a run.
pub(super) struct Text {
    /// The stream's track.
    pub track: usize,
    codec: Codec,
    cues: Vec<Waiting>,
    /// Its way into HLS.
    listed: Option<Listed>,
    /// Its way into CMAF.
    boxed: Option<Boxed>,
}

/// A text track in WebVTT.
struct Listed {
    /// Its window.
    group: usize,
    /// Up to where the open segment's parts have come, in microseconds, and how many there are.
    parts: Option<(i64, u32)>,
}

/// A text track in CMAF.
pub(super) struct Boxed {
    /// Its window.
    group: usize,
    track: Track,
    /// Wall-clock time of time 0, in microseconds since 1970, for `prft`.
    wall: i64,
    /// Up to where it is written, in microseconds.
    done: Option<i64>,
    /// The chunks of the open segment.
    chunks: Vec<Bytes>,
    /// `mfhd` sequence number.
    fragment: u32,
}

struct Waiting {
    /// As it came.
    cue: Cue,
    /// As CMAF shows it.
    shown: Cue,
    /// Whether a segment in HLS had it, whether a part had, and whether CMAF had.
    listed: bool,
    parted: bool,
    boxed: bool,
}

/// Whether a track can become WebVTT.
pub(super) fn is_text(info: &StreamInfo) -> bool {
    info.kind == MediaKind::Subtitle && info.codec.is_text_subtitle()
}

impl Listed {
    /// The part from where the open segment's parts have come (or `from`) to `to`, if that is not nothing.
    fn part(&mut self, cues: &mut [Waiting], sequence: u64, from: i64, to: i64) -> Option<Part> {
        let (from, index) = self.parts.unwrap_or((from, 0));
        if to <= from {
            return None;
        }
        let mut shown = Vec::new();
        for waiting in cues.iter_mut().filter(|w| w.cue.start < to && (w.cue.end > from || !w.parted)) {
            waiting.parted = true;
            shown.push(waiting.cue.clone());
        }
        self.parts = Some((to, index + 1));
        Some(Part {
            group: self.group,
            sequence,
            index,
            start: Timestamp::new(from, MICROSECONDS),
            duration: Timestamp::new(to - from, MICROSECONDS),
            independent: true,
            bytes: webvtt::segment(&shown, i64::MIN, i64::MAX, 0).into(),
        })
    }
}

impl Boxed {
    /// A text track for the window at `group`; `wall` is the wall-clock time of time 0, in microseconds since 1970.
    pub fn new(group: usize, track: Track, wall: i64) -> Boxed {
        Boxed { group, track, wall, done: None, chunks: Vec::new(), fragment: 0 }
    }

    /// Its init segment, in the ticks of the pictures that it stands beside: segments that are told of by their length alone
    /// must have exactly that.
    fn begin(&mut self, timescale: u32) -> Result<Event> {
        self.track.timescale = timescale;
        let bytes = cmaf::init_segment(&self.track)?;
        Ok(Event::Init { group: self.group, tracks: vec![self.track.clone()], bytes: Some(bytes) })
    }

    /// The chunk from where it is to `to`, if that is not nothing.
    fn chunk(&mut self, cues: &mut [Waiting], sequence: u64, start: i64, to: i64) -> Result<Option<Part>> {
        let first = self.chunks.is_empty();
        // Nothing is written twice, and nothing is left out.
        let from = self.done.map_or(start, |done| if first { start.max(done) } else { done });
        if to <= from {
            return Ok(None);
        }
        let mut shown = Vec::new();
        for waiting in cues.iter_mut().filter(|w| w.shown.start < to) {
            // What was over before the run began is not late.
            if !waiting.boxed && waiting.shown.end <= from && self.done.is_some() {
                let length = waiting.shown.end - waiting.shown.start;
                (waiting.shown.start, waiting.shown.end) = (from, from.saturating_add(length));
            }
            waiting.boxed = true;
            shown.push(waiting.shown.clone());
        }
        let samples = webvtt::samples(&shown, from, to, self.track.timescale);
        let Some(begin) = samples.first().map(|s| s.decode) else { return Ok(None) };
        self.fragment = self.fragment.wrapping_add(1);
        let options = ChunkOptions {
            sequence: self.fragment,
            segment_start: first,
            reference: first.then(|| ProducerReference::new(self.wall.saturating_add(from), begin)),
            ..ChunkOptions::default()
        };
        let bytes = cmaf::write_chunk(&self.track, &samples, &options)?.bytes;
        self.chunks.push(bytes.clone());
        self.done = Some(to);
        Ok(Some(Part {
            group: self.group,
            sequence,
            index: u32::try_from(self.chunks.len() - 1).unwrap_or(u32::MAX),
            start: Timestamp::new(from, MICROSECONDS),
            duration: Timestamp::new(to - from, MICROSECONDS),
            independent: true,
            bytes,
        }))
    }
}

impl Text {
    /// Track `track` of a stream, for the window at `listed` in HLS and by `boxed` for DASH.
    pub fn new(track: usize, info: &StreamInfo, listed: Option<usize>, boxed: Option<Boxed>) -> Text {
        let listed = listed.map(|group| Listed { group, parts: None });
        Text { track, codec: info.codec.clone(), cues: Vec::new(), listed, boxed }
    }

    /// Where its segments go.
    pub fn windows(&self) -> Vec<usize> {
        let (listed, boxed) = (self.listed.as_ref().map(|l| l.group), self.boxed.as_ref().map(|b| b.group));
        listed.into_iter().chain(boxed).collect()
    }

    /// Takes a packet of the track; says whether it could be read and there is room for it.
    pub fn add(&mut self, packet: &Packet) -> bool {
        let Ok(cue) = Cue::from_packet(&self.codec, packet, 0) else { return false };
        let Some(cue) = cue else { return true };
        if self.cues.len() >= CUES {
            return false;
        }
        let (listed, boxed) = (self.listed.is_none(), self.boxed.is_none());
        self.cues.push(Waiting { shown: cue.clone(), cue, listed, parted: listed, boxed });
        true
    }

    /// What stands beside a part of the pictures.
    fn part(&mut self, part: &Part) -> Result<Vec<Event>> {
        let (from, to) = (part.start.micros(), part.start.micros() + part.duration.micros());
        let mut made = Vec::new();
        if let Some(listed) = &mut self.listed {
            made.extend(listed.part(&mut self.cues, part.sequence, from, to));
        }
        if let Some(boxed) = &mut self.boxed {
            made.extend(boxed.chunk(&mut self.cues, part.sequence, from, to)?);
        }
        Ok(made.into_iter().map(Event::Part).collect())
    }

    /// The segments beside one of the pictures.
    fn segment(&mut self, sequence: u64, start: Timestamp, duration: Timestamp) -> Result<Vec<Event>> {
        let (from, to) = (start.micros(), start.micros() + duration.micros());
        let mut made = Vec::new();
        let whole = |group, chunks| {
            let independent = true;
            Event::Segment(Segment { group, sequence, start, duration, independent, chunks, key_range: None })
        };
        if let Some(listed) = &mut self.listed {
            // What its parts have left, where there are some.
            let rest =
                if listed.parts.is_some() { listed.part(&mut self.cues, sequence, from, to) } else { None };
            made.extend(rest.map(Event::Part));
            listed.parts = None;
            let mut shown = Vec::new();
            for waiting in
                self.cues.iter_mut().filter(|w| w.cue.start < to && (w.cue.end > from || !w.listed))
            {
                (waiting.listed, waiting.parted) = (true, true);
                shown.push(waiting.cue.clone());
            }
            made.push(whole(listed.group, vec![webvtt::segment(&shown, i64::MIN, i64::MAX, 0).into()]));
        }
        if let Some(boxed) = &mut self.boxed {
            // What its parts have left, which is all of it where there are none.
            let rest = boxed.done.is_none_or(|done| done < to);
            let rest = if rest { boxed.chunk(&mut self.cues, sequence, from, to)? } else { None };
            let parts = boxed.chunks.len() > usize::from(rest.is_some());
            made.extend(rest.filter(|_| parts).map(Event::Part));
            let chunks = std::mem::take(&mut boxed.chunks);
            made.extend((!chunks.is_empty()).then(|| whole(boxed.group, chunks)));
        }
        self.cues.retain(|w| w.cue.end.max(w.shown.end) > to || !w.listed || !w.boxed);
        Ok(made)
    }

    /// What it has beside what the leading window, `lead`, has in `event`.
    fn beside(&mut self, lead: usize, event: &Event) -> Result<Vec<Event>> {
        match event {
            Event::Init { group, tracks, .. } if *group == lead => {
                let scale = tracks.first().map(|t| t.timescale);
                match (scale, &mut self.boxed) {
                    (Some(scale), Some(boxed)) => Ok(vec![boxed.begin(scale)?]),
                    _ => Ok(Vec::new()),
                }
            }
            Event::Part(part) if part.group == lead => self.part(part),
            Event::Segment(s) if s.group == lead => self.segment(s.sequence, s.start, s.duration),
            _ => Ok(Vec::new()),
        }
    }
}

/// A text track as players are told of it.
pub(super) fn described(info: &StreamInfo) -> Option<Track> {
    let text = StreamInfo { codec: Codec::WebVtt, extradata: Default::default(), ..info.clone() };
    Track::new(&text, None).ok()
}

/// What all `texts` have beside what the leading window, `lead`, has among `events`; those that cannot be made are taken out, and
/// given back with why.
pub(super) fn beside(
    texts: &mut Vec<Text>,
    lead: usize,
    events: &[Event],
) -> (Vec<Event>, Vec<(Text, Error)>) {
    let (mut made, mut failed) = (Vec::new(), Vec::new());
    for event in events {
        let mut at = 0;
        while let Some(text) = texts.get_mut(at) {
            match text.beside(lead, event) {
                Ok(events) => {
                    made.extend(events);
                    at += 1;
                }
                Err(e) => failed.push((texts.remove(at), e)),
            }
        }
    }
    (made, failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ghoststream::time::Rational;

    const MS: Rational = Rational::new(1, 1000);

    fn info() -> StreamInfo {
        let mut info = StreamInfo::new(MediaKind::Subtitle, Codec::SubRip, MS);
        info.language = Some("de".into());
        info
    }

    fn cue(text: &mut Text, start: i64, end: i64, words: &'static str) {
        assert!(text.add(&Packet::new(Bytes::from_static(words.as_bytes()), start, end - start, MS)));
    }

    fn time(ms: i64) -> Timestamp {
        Timestamp::new(ms, MS)
    }

    fn words(events: Vec<Event>) -> String {
        let [Event::Segment(segment)] = &events[..] else { panic!("not one segment: {events:?}") };
        String::from_utf8(segment.bytes().to_vec()).unwrap()
    }

    #[test]
    fn cues_are_in_every_segment_that_shows_them_and_late_ones_in_the_next() {
        let info = info();
        let mut text = Text::new(2, &info, Some(5), None);
        cue(&mut text, 500, 2500, "one");
        cue(&mut text, 2100, 2200, "two");
        assert_eq!(described(&info).unwrap().codecs(), "wvtt");
        let first = words(text.segment(0, time(0), time(2000)).unwrap());
        assert!(first.contains("00:00:00.500 --> 00:00:02.500\none") && !first.contains("two"), "{first}");
        cue(&mut text, 1000, 1500, "late");
        let second = words(text.segment(1, time(2000), time(2000)).unwrap());
        assert!(second.contains("one") && second.contains("two") && second.contains("late"), "{second}");
        let third = words(text.segment(2, time(4000), time(2000)).unwrap());
        assert_eq!(third, "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n");
        assert!(text.cues.is_empty());
    }

    #[test]
    fn parts_in_webvtt_are_files_with_the_cues_that_are_shown_in_them() {
        let mut text = Text::new(2, &info(), Some(5), None);
        cue(&mut text, 500, 2500, "one");
        let part_of = |events: &[Event]| match &events[0] {
            Event::Part(part) => {
                let words = String::from_utf8(part.bytes.to_vec()).unwrap();
                assert!(
                    words.starts_with("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"),
                    "{words}"
                );
                (part.group, part.index, part.start.micros(), part.duration.micros(), words)
            }
            other => panic!("{other:?}"),
        };
        let (group, index, start, length, said) = part_of(&boxed(&mut text, &[part(0, 0, 400)]));
        assert_eq!((group, index, start, length, said.contains("one")), (5, 0, 0, 400_000, false));
        let (_, index, start, _, said) = part_of(&boxed(&mut text, &[part(1, 400, 400)]));
        assert_eq!((index, start), (1, 400_000));
        assert!(said.contains("00:00:00.500 --> 00:00:02.500\none"), "{said}");
        // One that comes late is told of with its own times, and by the whole segment too.
        cue(&mut text, 100, 300, "late");
        let (.., said) = part_of(&boxed(&mut text, &[part(2, 800, 400)]));
        assert!(said.contains("one") && said.contains("00:00:00.100 --> 00:00:00.300\nlate"), "{said}");
        let (.., said) = part_of(&boxed(&mut text, &[part(3, 1200, 400)]));
        assert!(said.contains("one") && !said.contains("late"), "{said}");
        // What the parts have left of the segment is one more.
        let made = boxed(&mut text, &[whole(0, 0, 2000)]);
        let (_, index, start, length, said) = part_of(&made);
        assert_eq!((index, start, length, said.contains("one")), (4, 1_600_000, 400_000, true));
        let said = words(made[1..].to_vec());
        assert!(said.contains("one") && said.contains("late"), "{said}");
        // The next segment's parts begin anew, and a cue that is over is in none.
        let next = |index, start| {
            let Event::Part(of) = part(index, start, 600) else { panic!() };
            Event::Part(Part { sequence: 1, ..of })
        };
        let (_, index, _, _, said) = part_of(&boxed(&mut text, &[next(0, 2000)]));
        assert_eq!((index, said.contains("one")), (0, true));
        let (_, index, _, _, said) = part_of(&boxed(&mut text, &[next(1, 2600)]));
        assert_eq!((index, said.contains("one")), (1, false));
    }

    #[test]
    fn one_that_cannot_be_made_is_taken_out_and_the_others_go_on() {
        let info = info();
        let track = described(&info).unwrap();
        let mut texts = vec![
            Text::new(0, &info, Some(5), Some(Boxed::new(6, track.clone(), 0))),
            Text::new(1, &info, Some(7), None),
        ];
        let init = Event::Init { group: 0, tracks: vec![Track { timescale: 90_000, ..track }], bytes: None };
        // CMAF has no times before 0.
        let (made, failed) = beside(&mut texts, 0, &[init, part(0, -1000, 500)]);
        assert_eq!(failed.iter().map(|(text, _)| text.windows()).collect::<Vec<_>>(), [[5, 6]]);
        assert_eq!(texts.iter().map(|t| t.track).collect::<Vec<_>>(), [1]);
        let group = |e: &Event| match e {
            Event::Init { group, .. } => *group,
            Event::Part(part) => part.group,
            Event::Segment(segment) => segment.group,
        };
        assert_eq!(made.iter().map(group).collect::<Vec<_>>(), [6, 7]);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let mut text = Text::new(0, &info(), Some(0), None);
        for _ in 0..CUES {
            cue(&mut text, 10_000, 11_000, "far");
        }
        assert!(
            !text.add(&Packet::new(Bytes::from_static(b"more"), 0, 1000, MS)),
            "it is counted as dropped"
        );
    }

    /// The boxes of `data`: types and what is in them.
    fn boxes(mut data: &[u8]) -> Vec<(String, &[u8])> {
        let mut all = Vec::new();
        while let Some(size) = data.first_chunk::<4>() {
            let (whole, rest) = data.split_at(u32::from_be_bytes(*size) as usize);
            all.push((String::from_utf8(whole[4..8].to_vec()).unwrap(), &whole[8..]));
            data = rest;
        }
        all
    }

    fn within<'a>(all: &[(String, &'a [u8])], name: &str) -> &'a [u8] {
        all.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name} in {all:?}")).1
    }

    /// Begin, length (in ticks) and texts of every sample of a chunk; `None`: an empty one, which is said by `vtte`.
    fn samples(chunk: &[u8]) -> Vec<(u64, u32, Option<Vec<String>>)> {
        let all = boxes(chunk);
        let moof = boxes(within(&all, "moof"));
        let traf = boxes(within(&moof, "traf"));
        let mut at = u64::from_be_bytes(within(&traf, "tfdt")[4..12].try_into().unwrap());
        let word = |data: &[u8], n: usize| u32::from_be_bytes(data[4 * n..4 * n + 4].try_into().unwrap());
        let (tfhd, trun) = (within(&traf, "tfhd"), within(&traf, "trun"));
        let (flags, mut next) = (word(tfhd, 0) & 0xff_ffff, 2);
        let mut default = |bit: u32| {
            let there = flags & bit != 0;
            next += usize::from(there);
            there.then(|| word(tfhd, next - 1))
        };
        let (duration, size) = (default(8), default(16));
        let (flags, count, mut next) = (word(trun, 0) & 0xff_ffff, word(trun, 1), 3);
        assert_eq!(flags & 0xc04, 0, "every sample is one to begin at");
        let mut mdat = within(&all, "mdat");
        let mut found = Vec::new();
        for _ in 0..count {
            let mut take = |default: Option<u32>| {
                default.unwrap_or_else(|| {
                    next += 1;
                    word(trun, next - 1)
                })
            };
            let (duration, size) = (take(duration), take(size));
            let (data, rest) = mdat.split_at(size as usize);
            mdat = rest;
            let cues = boxes(data);
            let texts = match cues[0].0.as_str() {
                "vtte" => {
                    assert_eq!((cues.len(), data.len()), (1, 8));
                    None
                }
                _ => {
                    let text = |(name, cue): &(String, &[u8])| {
                        assert_eq!(name, "vttc");
                        String::from_utf8(within(&boxes(cue), "payl").to_vec()).unwrap()
                    };
                    Some(cues.iter().map(text).collect())
                }
            };
            found.push((at, duration, texts));
            at += u64::from(duration);
        }
        assert!(mdat.is_empty());
        found
    }

    fn boxed(text: &mut Text, events: &[Event]) -> Vec<Event> {
        events.iter().flat_map(|event| text.beside(0, event).unwrap()).collect()
    }

    fn part(index: u32, start: i64, duration: i64) -> Event {
        Event::Part(Part {
            group: 0,
            sequence: 0,
            index,
            start: time(start),
            duration: time(duration),
            independent: false,
            bytes: Bytes::new(),
        })
    }

    fn whole(sequence: u64, start: i64, duration: i64) -> Event {
        Event::Segment(Segment {
            group: 0,
            sequence,
            start: time(start),
            duration: time(duration),
            independent: true,
            chunks: Vec::new(),
            key_range: None,
        })
    }

    /// A text in CMAF beside pictures of 90 kHz, begun.
    fn begun() -> Text {
        let info = info();
        let track = described(&info).unwrap();
        let mut text = Text::new(0, &info, None, Some(Boxed::new(7, track.clone(), 1_000_000)));
        let tracks = vec![Track { timescale: 90_000, ..track }];
        let made = boxed(&mut text, &[Event::Init { group: 0, tracks, bytes: None }]);
        let [Event::Init { group: 7, tracks, bytes: Some(init) }] = &made[..] else { panic!("{made:?}") };
        assert_eq!(tracks[0].timescale, 90_000);
        let has = |name: &[u8]| init.windows(name.len()).any(|w| w == name);
        assert!([&b"cwvt"[..], b"text", b"nmhd", b"wvtt", b"vttC", b"WEBVTT"].iter().all(|n| has(n)));
        text
    }

    fn chunks(events: &[Event]) -> Vec<Bytes> {
        let bytes = |e: &Event| match e {
            Event::Part(part) => Some(part.bytes.clone()),
            _ => None,
        };
        events.iter().filter_map(bytes).collect()
    }

    #[test]
    fn parts_have_a_sample_for_every_change_and_one_that_says_that_nothing_is_shown() {
        let mut text = begun();
        // One across both parts, one over it, and one that comes late.
        cue(&mut text, 300, 1500, "one");
        cue(&mut text, 700, 900, "two");
        let made = boxed(&mut text, &[part(0, 0, 1000)]);
        let [Event::Part(first)] = &made[..] else { panic!("{made:?}") };
        assert_eq!((first.group, first.sequence, first.index, first.independent), (7, 0, 0, true));
        let shown = |texts: &[&str]| Some(texts.iter().map(|t| t.to_string()).collect());
        let ms = |n: u32| n * 90;
        assert_eq!(
            samples(&first.bytes),
            [
                (0, ms(300), None),
                (ms(300).into(), ms(400), shown(&["one"])),
                (ms(700).into(), ms(200), shown(&["one", "two"])),
                (ms(900).into(), ms(100), shown(&["one"])),
            ]
        );
        let all = boxes(&first.bytes);
        let names: Vec<&str> = all.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["styp", "prft", "moof", "mdat"]);
        // The cue's time is over: it is shown from now on, for as long.
        cue(&mut text, 400, 600, "late");
        let made = boxed(&mut text, &[part(1, 1000, 900), whole(0, 0, 2000)]);
        let [Event::Part(second), Event::Part(rest), Event::Segment(segment)] = &made[..] else {
            panic!("{made:?}")
        };
        assert_eq!(
            samples(&second.bytes),
            [
                (ms(1000).into(), ms(200), shown(&["one", "late"])),
                (ms(1200).into(), ms(300), shown(&["one"])),
                (ms(1500).into(), ms(400), None),
            ]
        );
        // What the parts have left of the segment.
        assert_eq!(samples(&rest.bytes), [(ms(1900).into(), ms(100), None)]);
        assert_eq!(rest.index, 2);
        assert_eq!(segment.chunks, [chunks(&[Event::Part(first.clone())]), chunks(&made)].concat());
        assert_eq!((segment.group, segment.start.micros(), segment.duration.micros()), (7, 0, 2_000_000));
        assert!(text.cues.is_empty());
    }

    #[test]
    fn segments_without_parts_are_one_chunk_and_cues_go_on_across_them() {
        let mut text = begun();
        cue(&mut text, 1500, 2500, "across");
        let mut shown = Vec::new();
        for (n, start) in [(0, 0), (1, 2000), (2, 4000)] {
            let made = boxed(&mut text, &[whole(n, start, 2000)]);
            let [Event::Segment(segment)] = &made[..] else { panic!("{made:?}") };
            assert_eq!((segment.sequence, segment.chunks.len()), (n, 1));
            shown.push(samples(&segment.chunks[0]));
        }
        let across = || Some(vec!["across".to_string()]);
        let ms = |n: u32| n * 90;
        assert_eq!(shown[0], [(0, ms(1500), None), (ms(1500).into(), ms(500), across())]);
        assert_eq!(shown[1], [(ms(2000).into(), ms(500), across()), (ms(2500).into(), ms(1500), None)]);
        assert_eq!(shown[2], [(ms(4000).into(), ms(2000), None)]);
    }

    #[test]
    fn what_was_over_before_a_run_began_is_not_late() {
        let mut text = begun();
        cue(&mut text, 1000, 2000, "before");
        let made = boxed(&mut text, &[whole(4, 5000, 2000)]);
        let [Event::Segment(segment)] = &made[..] else { panic!("{made:?}") };
        assert_eq!(samples(&segment.chunks[0]), [(5000 * 90, 2000 * 90, None)]);
        assert!(text.cues.is_empty());
    }
}
