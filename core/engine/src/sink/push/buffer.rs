//! What waits to be sent, and what goes when too much does. No clock, no thread.

use crate::packet::Packet;
use crate::time::Timestamp;
use std::collections::VecDeque;

/// A packet that waits.
pub(super) struct Item {
    /// Index of the track.
    pub track: usize,
    pub packet: Packet,
    /// When it is decoded, in microseconds of the job's timeline.
    pub time: i64,
    pub video: bool,
    /// Whether other pictures do without it.
    pub disposable: bool,
}

impl Item {
    pub fn new(track: usize, packet: Packet, video: bool, disposable: bool) -> Item {
        let time = packet.decode().or(packet.presentation()).map_or(0, Timestamp::micros);
        Item { track, packet, time, video, disposable }
    }

    fn is_key(&self) -> bool {
        self.video && self.packet.key
    }
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Microseconds of media.
    pub time: i64,
    pub bytes: usize,
}

/// Packets of all tracks, in the order in which they are sent.
///
/// What goes first when there is too much: pictures that no other needs, at half the limits; then everything of the
/// picture up to the next key frame, so that no picture is sent whose reference was not; sound only when no picture is left
/// to go and twice the limits are reached.
pub(super) struct Buffer {
    items: VecDeque<Item>,
    bytes: usize,
    /// There is a video track: nothing begins without one of its key frames.
    has_video: bool,
    /// Pictures are of no use until a key frame comes.
    awaits_key: bool,
    /// Nothing is of use until a key frame comes.
    awaits_start: bool,
    /// Pictures that went.
    pub dropped: u64,
    /// Packets of sound that went.
    pub dropped_audio: u64,
}

impl Buffer {
    pub fn new(has_video: bool) -> Buffer {
        Buffer {
            items: VecDeque::new(),
            bytes: 0,
            has_video,
            awaits_key: has_video,
            awaits_start: false,
            dropped: 0,
            dropped_audio: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Microseconds of media that wait: of pictures, or of sound where there are none.
    pub fn span(&self) -> i64 {
        let pictures = || self.items.iter().filter(|i| i.video);
        let first = pictures().next().or(self.items.front());
        let last = self.items.iter().rfind(|i| i.video).or(self.items.back());
        first.zip(last).map_or(0, |(first, last)| last.time.saturating_sub(first.time).max(0))
    }

    pub fn is_over(&self, limits: Limits) -> bool {
        self.span() > limits.time || self.bytes > limits.bytes
    }

    #[cfg(test)]
    fn awaits_key(&self) -> bool {
        self.awaits_key || self.awaits_start
    }

    pub fn push(&mut self, item: Item) {
        if item.is_key() {
            (self.awaits_key, self.awaits_start) = (false, false);
        }
        if self.awaits_start || (self.awaits_key && item.video) {
            self.count(&item);
            return;
        }
        self.bytes += item.packet.data.len();
        self.items.push_back(item);
    }

    pub fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.packet.data.len();
        Some(item)
    }

    fn count(&mut self, item: &Item) {
        if item.video {
            self.dropped += 1;
        } else {
            self.dropped_audio += 1;
        }
    }

    /// Drops what is not to be kept.
    fn retain(&mut self, mut keep: impl FnMut(usize, &Item) -> bool) {
        let items = std::mem::take(&mut self.items);
        for (i, item) in items.into_iter().enumerate() {
            if keep(i, &item) {
                self.items.push_back(item);
            } else {
                self.bytes -= item.packet.data.len();
                self.count(&item);
            }
        }
    }

    /// Drops what is beyond `limits`. `true` when pictures go on only with a key frame that is not there yet.
    pub fn trim(&mut self, limits: Limits) -> bool {
        let half = Limits { time: limits.time / 2, bytes: limits.bytes / 2 };
        if self.is_over(half) && self.items.iter().any(|i| i.disposable) {
            self.retain(|_, item| !item.disposable);
        }
        let mut wanted = false;
        while self.is_over(limits) && self.items.iter().any(|i| i.video) {
            let first = self.items.iter().position(|i| i.video).unwrap_or(0);
            let next = self.items.iter().skip(first + 1).position(Item::is_key).map(|at| at + first + 1);
            if next.is_none() {
                self.awaits_key = true;
                wanted = true;
            }
            self.retain(|i, item| !item.video || next.is_some_and(|next| i >= next));
        }
        // Sound is little, and missed most: it gets twice as much.
        let twice = Limits { time: limits.time.saturating_mul(2), bytes: limits.bytes.saturating_mul(2) };
        while self.is_over(twice) && self.items.len() > 1 {
            if let Some(item) = self.pop() {
                self.count(&item);
            }
        }
        wanted
    }

    /// Makes it begin where a receiver can: at its first key frame, or at its `newest`. `true` when it has none and one
    /// is wanted.
    pub fn begin(&mut self, newest: bool) -> bool {
        if !self.has_video {
            return false;
        }
        let first = self.items.iter().position(|i| i.video);
        let start = match newest {
            true => self.items.iter().rposition(Item::is_key),
            false => self.items.iter().position(Item::is_key),
        };
        match start {
            // What begins with a key frame keeps the sound before it.
            Some(start) if Some(start) == first && !newest => false,
            Some(start) => {
                let time = self.items[start].time;
                self.retain(|i, item| i >= start || (!item.video && item.time >= time));
                false
            }
            None => {
                self.retain(|_, _| false);
                self.awaits_start = true;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Rational;
    use bytes::Bytes;

    const MS: Rational = Rational::new(1, 1000);

    /// `K` key, `P` reference, `b` disposable, `a` sound; 40 ms each, 100 bytes.
    fn items(text: &str) -> Vec<Item> {
        text.chars()
            .enumerate()
            .map(|(i, c)| {
                let packet = Packet { key: c == 'K' || c == 'a', ..packet(i as i64 * 40) };
                Item::new(usize::from(c == 'a'), packet, c != 'a', c == 'b')
            })
            .collect()
    }

    fn packet(ms: i64) -> Packet {
        Packet::new(Bytes::from(vec![0; 100]), ms, 40, MS)
    }

    fn text(buffer: &mut Buffer) -> String {
        std::iter::from_fn(|| buffer.pop())
            .map(|i| match (i.video, i.packet.key, i.disposable) {
                (false, _, _) => 'a',
                (_, true, _) => 'K',
                (_, _, true) => 'b',
                _ => 'P',
            })
            .collect()
    }

    fn filled(text: &str) -> Buffer {
        let mut buffer = Buffer::new(text.contains(['K', 'P', 'b']));
        items(text).into_iter().for_each(|i| buffer.push(i));
        buffer
    }

    fn limits(ms: i64) -> Limits {
        Limits { time: ms * 1000, bytes: usize::MAX }
    }

    #[test]
    fn pictures_that_nobody_needs_go_first_and_then_whole_tails() {
        for (before, limit, after, wanted) in [
            ("KPPP", 1000, "KPPP", false),
            ("KbPbaP", 200, "KPaP", false),
            ("KPaPPKPaPP", 200, "aKPaPP", false),
            ("KPPPPP", 100, "", true),
            ("KaPaPaPa", 200, "aaaa", true),
            ("aaaaaaaa", 120, "aaaaaaa", false),
            ("KPKPKP", 60, "KP", false),
        ] {
            let mut buffer = filled(before);
            assert_eq!(buffer.trim(limits(limit)), wanted, "{before}");
            let dropped = (buffer.dropped + buffer.dropped_audio) as usize;
            assert_eq!(buffer.bytes(), buffer.len() * 100);
            assert_eq!(dropped + buffer.len(), before.len());
            assert_eq!(text(&mut buffer), after, "{before} at {limit} ms");
        }
        let mut buffer = filled("KPPPPP");
        assert!(buffer.trim(Limits { time: i64::MAX, bytes: 500 }));
    }

    #[test]
    fn after_a_cut_pictures_wait_for_a_key_frame_and_sound_does_not() {
        let mut buffer = filled("KPPP");
        assert!(buffer.trim(limits(40)) && buffer.awaits_key());
        items("PaPKP").into_iter().for_each(|i| buffer.push(i));
        assert!(!buffer.awaits_key());
        assert_eq!((text(&mut buffer), buffer.dropped), ("aKP".into(), 6));
    }

    #[test]
    fn a_connection_begins_at_a_key_frame() {
        for (before, newest, after, wanted) in [
            ("aKPP", false, "aKPP", false),
            ("PaPKPaKP", false, "KPaKP", false),
            ("PaPKPaKaP", true, "KaP", false),
            ("PaPa", true, "", true),
            ("aaa", true, "aaa", false),
        ] {
            // What begins without a key frame was begun with one that is sent already.
            let mut buffer = Buffer::new(before.contains(['K', 'P']));
            buffer.awaits_key = false;
            items(before).into_iter().for_each(|i| buffer.push(i));
            assert_eq!(buffer.begin(newest), wanted, "{before}");
            if wanted {
                items("PaKa").into_iter().for_each(|i| buffer.push(i));
                assert_eq!(text(&mut buffer), "Ka");
            } else {
                assert_eq!(text(&mut buffer), after, "{before}");
            }
        }
    }

    /// Whatever comes and goes, no picture is sent whose reference was not.
    #[test]
    fn no_picture_is_sent_without_its_reference() {
        let mut seed = 7u64;
        let mut random = move |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        for _ in 0..200 {
            let mut buffer = Buffer::new(true);
            // Pictures are numbered; a reference needs the one before it, back to a key frame.
            let (mut sent, mut need) = (Vec::new(), Vec::new());
            let mut last = None;
            for i in 0..300i64 {
                let (key, disposable) = (i == 0 || random(30) == 0, random(3) == 0);
                let item = Packet { key, pts: Some(i * 40), dts: Some(i * 40), ..packet(0) };
                need.push(if key { None } else { last });
                if key || !disposable {
                    last = Some(i);
                }
                buffer.push(Item::new(0, item, true, disposable && !key));
                if random(4) == 0 {
                    buffer.trim(limits(400));
                    assert!(!buffer.is_over(limits(400)));
                }
                if random(90) == 0 {
                    buffer.begin(random(2) == 0);
                }
                for _ in 0..random(3) {
                    sent.extend(buffer.pop().map(|i| i.time / 40_000));
                }
            }
            for (at, picture) in sent.iter().enumerate() {
                if let Some(reference) = need[*picture as usize] {
                    assert!(sent[..at].contains(&reference), "{picture} without {reference}");
                }
                assert!(at == 0 || sent[at - 1] < *picture);
            }
        }
    }
}
