//! Pictures of VP8 (RFC 7741), VP9 (RFC 9628) and AV1 (AOM's payload format 1.0) in RTP, both ways. Sans-IO; everything is bounded.

use super::depacketize::{FRAME, Frame, Rtp};
use bytes::Bytes;
use ghoststream::package::bitstream::{av1, vp9};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// VP8.
    Vp8,
    /// VP9, of layers the lowest.
    Vp9,
    /// AV1 in the low-overhead format.
    Av1,
}

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const WHOLE_FRAME: u8 = 6;

/// Whether decoding can begin at a picture.
pub fn is_key(coding: Coding, data: &[u8]) -> bool {
    match coding {
        Coding::Vp8 => data.first().is_some_and(|head| head & 1 == 0),
        Coding::Vp9 => vp9::Config::parse(data).is_ok(),
        Coding::Av1 => {
            let Ok(units) = av1::obus(data) else { return false };
            let frame = units.iter().find(|u| matches!(u.kind, FRAME_HEADER | WHOLE_FRAME));
            // Not one that is shown again, and of type 0.
            let key = frame.and_then(|u| u.payload.first()).is_some_and(|head| head & 0xe0 == 0);
            key && units.iter().any(|u| u.kind == SEQUENCE_HEADER)
        }
    }
}

/// A picture that is coming.
#[derive(Clone, Debug)]
pub struct Coming {
    coding: Coding,
    timestamp: u32,
    data: Vec<u8>,
    /// A unit of AV1 that comes in pieces.
    part: Vec<u8>,
    /// Something of it is missing.
    broken: bool,
}

impl Coming {
    /// None yet.
    pub fn new(coding: Coding) -> Coming {
        Coming { coding, timestamp: 0, data: Vec::new(), part: Vec::new(), broken: false }
    }

    /// Takes a packet, behind which others are missing where there is a `gap`; `None` for one that is not understood.
    pub fn push(&mut self, rtp: &Rtp, gap: bool, frames: &mut Vec<Frame>) -> Option<()> {
        self.broken |= gap;
        if rtp.timestamp != self.timestamp {
            self.finish(frames);
            self.timestamp = rtp.timestamp;
            // What is missing may be the beginning of this picture.
            self.broken = gap;
        }
        let taken = match self.coding {
            Coding::Vp8 => self.vp8(&rtp.payload),
            Coding::Vp9 => self.vp9(&rtp.payload),
            Coding::Av1 => self.av1(&rtp.payload),
        };
        self.broken |= taken.is_none();
        if self.data.len() + self.part.len() > FRAME {
            (self.data, self.part, self.broken) = (Vec::new(), Vec::new(), true);
        }
        if rtp.marker {
            self.finish(frames);
        }
        taken
    }

    fn finish(&mut self, frames: &mut Vec<Frame>) {
        let broken = std::mem::take(&mut self.broken) || !self.part.is_empty();
        self.part.clear();
        let data = Bytes::from(std::mem::take(&mut self.data));
        if data.is_empty() || broken {
            return;
        }
        let key = is_key(self.coding, &data);
        // Whether the units fit is known when all are there.
        let data = if self.coding == Coding::Av1 { av1::strip(&data).ok() } else { Some(data) };
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            frames.push(Frame { data, timestamp: self.timestamp, key });
        }
    }

    /// A picture's data, of which this is the first piece if it `begins`.
    fn piece(&mut self, begins: bool, data: &[u8]) -> Option<()> {
        if data.is_empty() || (self.data.is_empty() && !begins) {
            return None;
        }
        self.data.extend_from_slice(data);
        Some(())
    }

    fn vp8(&mut self, payload: &[u8]) -> Option<()> {
        let (head, mut rest) = payload.split_first()?;
        if head & 0x80 != 0 {
            let (more, behind) = rest.split_first()?;
            let identified = usize::from(more & 0x80 != 0);
            let wide = usize::from(identified == 1 && behind.first()? & 0x80 != 0);
            let further = usize::from(more & 0x40 != 0) + usize::from(more & 0x30 != 0);
            rest = behind.get(identified + wide + further..)?;
        }
        self.piece(head & 0x17 == 0x10, rest)
    }

    fn vp9(&mut self, payload: &[u8]) -> Option<()> {
        let (head, mut rest) = payload.split_first()?;
        let has = |bit: u8| head & bit != 0;
        let mut byte = || {
            let (first, behind) = rest.split_first()?;
            rest = behind;
            Some(*first)
        };
        if has(0x80) && byte()? & 0x80 != 0 {
            byte()?;
        }
        let mut layer = 0;
        if has(0x20) {
            layer = byte()? >> 1 & 7;
            if !has(0x10) {
                byte()?;
            }
        }
        if has(0x10) && has(0x40) {
            // Three at most.
            let mut more = 0;
            while byte()? & 1 != 0 {
                more += 1;
                if more == 3 {
                    return None;
                }
            }
        }
        if has(2) {
            let structure = byte()?;
            if structure & 0x10 != 0 {
                for _ in 0..4 * (usize::from(structure >> 5) + 1) {
                    byte()?;
                }
            }
            if structure & 8 != 0 {
                for _ in 0..byte()? {
                    for _ in 0..byte()? >> 2 & 3 {
                        byte()?;
                    }
                }
            }
        }
        // Larger pictures of the same moment would need an index behind them; the smallest can be played alone.
        if layer > 0 { Some(()) } else { self.piece(has(8), rest) }
    }

    fn av1(&mut self, payload: &[u8]) -> Option<()> {
        let (head, mut rest) = payload.split_first()?;
        let (continues, goes_on, count) = (head & 0x80 != 0, head & 0x40 != 0, head >> 4 & 3);
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let element = if number == count {
                std::mem::take(&mut rest)
            } else {
                let (size, behind) = leb128(rest)?;
                let (element, behind) = behind.split_at_checked(size)?;
                rest = behind;
                element
            };
            let first = number == 1 && continues;
            if first == self.part.is_empty() {
                // A piece without its beginning, or a beginning in the middle of another unit.
                self.part.clear();
                return None;
            }
            self.part.extend_from_slice(element);
            if !(rest.is_empty() && goes_on) {
                let unit = std::mem::take(&mut self.part);
                self.unit(&unit)?;
            }
        }
        (count == 0 || number == count).then_some(())
    }

    /// A whole unit, which gets the size that it has not in RTP.
    fn unit(&mut self, unit: &[u8]) -> Option<()> {
        let head = *unit.first()?;
        let length = if head & 4 != 0 { 2 } else { 1 };
        let (front, payload) = unit.split_at_checked(length)?;
        if head & 2 != 0 {
            self.data.extend_from_slice(unit);
            return Some(());
        }
        self.data.push(head | 2);
        self.data.extend_from_slice(&front[1..]);
        put_leb128(&mut self.data, payload.len());
        self.data.extend_from_slice(payload);
        Some(())
    }
}

/// The payloads of a picture, of `most` bytes each.
///
/// `number` counts pictures; `sequence` is what a key picture of AV1 needs in front of it and may lack.
pub fn payloads(
    coding: Coding,
    data: &[u8],
    key: bool,
    number: u16,
    sequence: &[u8],
    most: usize,
) -> Vec<Vec<u8>> {
    match coding {
        Coding::Vp8 => pieces(data, most, |begins, _| vec![if begins { 0x10 } else { 0 }]),
        Coding::Vp9 => {
            let [high, low] = (number & 0x7fff).to_be_bytes();
            pieces(data, most, |begins, ends| {
                let flags = 0x80 | u8::from(!key) << 6 | u8::from(begins) << 3 | u8::from(ends) << 2;
                vec![flags, 0x80 | high, low]
            })
        }
        Coding::Av1 => units(data, key, sequence, most).unwrap_or_default(),
    }
}

fn pieces(data: &[u8], most: usize, front: impl Fn(bool, bool) -> Vec<u8>) -> Vec<Vec<u8>> {
    let count = data.len().div_ceil(most);
    data.chunks(most)
        .enumerate()
        .map(|(n, piece)| [&front(n == 0, n + 1 == count)[..], piece].concat())
        .collect()
}

/// The units of AV1, without their sizes, each behind a length, as many of them as there is room for.
fn units(data: &[u8], key: bool, sequence: &[u8], most: usize) -> Option<Vec<Vec<u8>>> {
    let own = av1::obus(data).ok()?;
    let mut all = match key && !own.iter().any(|u| u.kind == SEQUENCE_HEADER) {
        true => av1::obus(sequence).ok()?,
        false => Vec::new(),
    };
    all.extend(own.into_iter().filter(|u| u.kind != TEMPORAL_DELIMITER));
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut open = vec![if key { 8 } else { 0 }];
    for unit in all {
        let head = if unit.whole.first()? & 4 != 0 { 2 } else { 1 };
        let mut bare = unit.whole.get(..head)?.to_vec();
        bare[0] &= !2;
        bare.extend_from_slice(unit.payload);
        let mut rest = &bare[..];
        while !rest.is_empty() {
            // A length takes two bytes here; less than some more is not worth a piece.
            let mut room = most.saturating_sub(open.len() + 2);
            if room < 16 {
                found.push(std::mem::replace(&mut open, vec![0]));
                room = most - 3;
            }
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            put_leb128(&mut open, piece.len());
            open.extend_from_slice(piece);
            rest = behind;
            if !rest.is_empty() {
                open[0] |= 0x40;
                found.push(std::mem::replace(&mut open, vec![0x80]));
            }
        }
    }
    if open.len() > 1 {
        found.push(open);
    }
    Some(found)
}

fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (n, byte) in data.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, &data[n + 1..]));
        }
    }
    None
}

fn put_leb128(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY_VP9: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0b, 0x30];

    fn rtp(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Rtp {
        Rtp { sequence, timestamp, marker, payload: Bytes::copy_from_slice(payload) }
    }

    /// What of payloads with these time stamps comes out; the last of each is marked.
    fn through(coding: Coding, pictures: &[(u32, Vec<Vec<u8>>)]) -> Vec<Frame> {
        let (mut coming, mut frames) = (Coming::new(coding), Vec::new());
        for (time, payloads) in pictures {
            for (n, payload) in payloads.iter().enumerate() {
                let last = n + 1 == payloads.len();
                assert_eq!(coming.push(&rtp(0, *time, last, payload), false, &mut frames), Some(()));
            }
        }
        frames
    }

    fn obu(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![kind << 3 | 2];
        put_leb128(&mut out, payload.len());
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let long: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        let header = obu(SEQUENCE_HEADER, &[1, 2, 3]);
        for (coding, key, other) in [
            (Coding::Vp8, [&[0x10][..], &long].concat(), [&[0x11][..], &[7; 100]].concat()),
            (Coding::Vp9, [KEY_VP9, &long].concat(), [&[0x86][..], &long].concat()),
            (
                Coding::Av1,
                [obu(WHOLE_FRAME, &[&[0x10][..], &long].concat()), obu(5, &[9; 20])].concat(),
                [obu(TEMPORAL_DELIMITER, &[]), obu(FRAME_HEADER, &[0x30, 1]), obu(4, &long)].concat(),
            ),
        ] {
            let first = payloads(coding, &key, true, 127, &header, 1400);
            let second = payloads(coding, &other, false, 128, &header, 1400);
            assert!(first.len() > 3 && first.iter().chain(&second).all(|p| p.len() <= 1403), "{coding:?}");
            let frames = through(coding, &[(5, first), (9, second)]);
            let [one, two] = &frames[..] else { panic!("{coding:?}: {}", frames.len()) };
            assert_eq!((one.key, one.timestamp, two.key, two.timestamp), (true, 5, false, 9), "{coding:?}");
            let (whole, rest) = match coding {
                // With the header that it lacked, and without what files have not.
                Coding::Av1 => ([&header[..], &key].concat(), other[2..].to_vec()),
                _ => (key, other),
            };
            assert!(one.data == whole && two.data == rest, "{coding:?}");
        }
    }

    #[test]
    fn what_others_write_in_front_is_understood() {
        // VP8 with a long number, a layer and a key index.
        let frames = through(Coding::Vp8, &[(1, vec![vec![0x90, 0xf0, 0x81, 2, 3, 4, 0x10, 8], vec![0, 9]])]);
        assert_eq!(frames[0].data[..], [0x10, 8, 9]);
        // VP9 with layers, references and the structure of the stream; of two layers the lower one is taken.
        let base = [&[0xaa, 0x81, 2, 0x00, 5, 0x18, 1, 64, 0, 180, 1, 0x04, 9][..], KEY_VP9].concat();
        let frames = through(Coding::Vp9, &[(1, vec![base, vec![0xac, 0x81, 2, 0x02, 5, 99]])]);
        assert_eq!((&frames[0].data[..], frames[0].key), (KEY_VP9, true));
        let flexible = [&[0xdc, 5, 3, 2][..], &[0x86, 1]].concat();
        assert_eq!(through(Coding::Vp9, &[(1, vec![flexible])])[0].data[..], [0x86, 1]);
        // AV1 with a count of units, the last of which has no length, and one that has its size all the same.
        let counted = vec![0x28, 2, SEQUENCE_HEADER << 3, 7, WHOLE_FRAME << 3 | 2, 2, 0x10, 1];
        let frames = through(Coding::Av1, &[(1, vec![counted])]);
        assert_eq!(frames[0].data[..], [obu(SEQUENCE_HEADER, &[7]), obu(WHOLE_FRAME, &[0x10, 1])].concat());
        assert!(frames[0].key);
    }

    #[test]
    fn what_is_incomplete_is_left_out() {
        for (coding, first, second) in [
            (Coding::Vp8, vec![0x10, 0x10, 1], vec![0, 2]),
            (Coding::Vp9, [&[0x08][..], KEY_VP9].concat(), vec![0x04, 2]),
            (Coding::Av1, vec![0x40, 2, WHOLE_FRAME << 3, 0x10], vec![0x80, 1, 2]),
        ] {
            let (mut coming, mut frames) = (Coming::new(coding), Vec::new());
            // Without its beginning, without its middle, without its end.
            assert_eq!(coming.push(&rtp(1, 1, true, &second), true, &mut frames), None);
            coming.push(&rtp(2, 2, false, &first), false, &mut frames);
            coming.push(&rtp(4, 2, true, &second), true, &mut frames);
            coming.push(&rtp(5, 3, false, &first), false, &mut frames);
            assert!(frames.is_empty(), "{coding:?}: {frames:?}");
            if coding == Coding::Av1 {
                coming.push(&rtp(6, 4, false, &first), true, &mut frames);
                assert!(frames.is_empty(), "{frames:?}");
            } else {
                // Without a marker the next time stamp ends it.
                coming.push(&rtp(6, 4, false, &first), false, &mut frames);
                assert_eq!(frames.len(), 1, "{coding:?}");
            }
        }
        let mut frames = Vec::new();
        for payload in [&[][..], &[0x90], &[0x90, 0x80], &[0x90, 0x80, 0x80]] {
            assert_eq!(Coming::new(Coding::Vp8).push(&rtp(0, 0, true, payload), false, &mut frames), None);
        }
        for payload in [&[][..], &[0x80], &[0x8a, 1], &[0x0a, 0x10, 1, 2], &[0x58, 1, 1, 1, 1, 1]] {
            assert_eq!(Coming::new(Coding::Vp9).push(&rtp(0, 0, true, payload), false, &mut frames), None);
        }
        for payload in [&[][..], &[0x00, 9, 1], &[0x20, 1, 0x10], &[0x00, 0x80, 0x80, 0x80, 0x80, 1], &[0x10]]
        {
            assert_eq!(Coming::new(Coding::Av1).push(&rtp(0, 0, true, payload), false, &mut frames), None);
        }
        assert!(frames.is_empty());
    }
}
