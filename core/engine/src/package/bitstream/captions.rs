//! Captions inside pictures (CEA-608 and CEA-708 in ATSC A/53 user data): which of them a stream carries. Their words stay where
//! they are; players find them.

use super::nal::Framing;
use super::{av1, h264, hevc, nal};
use crate::packet::Codec;

/// `user_data_registered_itu_t_t35` of SEI.
const REGISTERED: u32 = 4;
/// The United States, ATSC, "GA94", `cc_data`.
const ATSC: &[u8] = &[0xb5, 0x00, 0x31, b'G', b'A', b'9', b'4', 0x03];
/// `metadata_type` and `obu_type` of the same in AV1.
const AV1_REGISTERED: u8 = 4;
const AV1_METADATA: u8 = 5;
/// The longest packet of CEA-708, in bytes.
const PACKET: usize = 128;

/// Captions that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captions {
    /// Bit n: CEA-608's `CC{n + 1}`.
    lines: u8,
    /// Bit n: CEA-708's service n.
    services: u64,
}

impl Captions {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self == Captions::default()
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Captions) -> Captions {
        Captions { lines: self.lines & other.lines, services: self.services & other.services }
    }

    /// Those of either.
    #[must_use]
    pub fn or(self, other: Captions) -> Captions {
        Captions { lines: self.lines | other.lines, services: self.services | other.services }
    }

    /// The numbers of CEA-608's channels, from 1.
    pub fn lines(self) -> impl Iterator<Item = u8> {
        (1..=4).filter(move |n| self.lines >> (n - 1) & 1 == 1)
    }

    /// The numbers of CEA-708's services, from 1.
    pub fn services(self) -> impl Iterator<Item = u8> {
        (1..=63).filter(move |n| self.services >> n & 1 == 1)
    }
}

/// Looks at a stream's pictures. What is damaged is passed over.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    seen: Captions,
    /// A packet of CEA-708 that comes in pieces.
    packet: Vec<u8>,
}

impl Scanner {
    /// Looks at a picture of `codec`, whose units are framed by `framing` where they are.
    pub fn look(&mut self, codec: &Codec, framing: Framing, data: &[u8]) {
        match codec {
            Codec::H264 | Codec::Hevc => {
                let hevc = *codec == Codec::Hevc;
                for unit in framing.units(data).unwrap_or_default() {
                    // Of HEVC the one in front of the picture.
                    let (found, head) = match hevc {
                        true => (hevc::unit_type(unit) == 39, 2),
                        false => (h264::unit_type(unit) == 6, 1),
                    };
                    if let (true, Some(payload)) = (found, unit.get(head..)) {
                        self.messages(&nal::unescape(payload));
                    }
                }
            }
            Codec::Av1 => {
                for unit in av1::obus(data).unwrap_or_default() {
                    if let (AV1_METADATA, [AV1_REGISTERED, payload @ ..]) = (unit.kind, unit.payload) {
                        self.registered(payload);
                    }
                }
            }
            _ => {}
        }
    }

    /// What was seen so far.
    pub fn seen(&self) -> Captions {
        self.seen
    }

    fn messages(&mut self, mut rest: &[u8]) {
        let number = |rest: &mut &[u8]| {
            let mut value = 0u32;
            loop {
                let (byte, behind) = rest.split_first()?;
                *rest = behind;
                value = value.saturating_add(u32::from(*byte));
                if *byte != 0xff {
                    return Some(value);
                }
            }
        };
        // One byte ends the unit.
        while rest.len() > 2 {
            let (Some(kind), Some(size)) = (number(&mut rest), number(&mut rest)) else { return };
            let Some((payload, behind)) = rest.split_at_checked(size as usize) else { return };
            if kind == REGISTERED {
                self.registered(payload);
            }
            rest = behind;
        }
    }

    fn registered(&mut self, payload: &[u8]) {
        let Some([flags, _, triplets @ ..]) = payload.strip_prefix(ATSC) else { return };
        if flags & 0x40 == 0 {
            return;
        }
        for triplet in triplets.chunks_exact(3).take(usize::from(flags & 31)) {
            let [head, first, second] = *triplet else { return };
            match (head & 4 != 0, head & 3) {
                (true, field @ (0 | 1)) => self.line(field, first & 0x7f, second & 0x7f),
                (valid, 3) => {
                    self.end_packet();
                    if valid {
                        self.packet.extend_from_slice(&[first, second]);
                    }
                }
                (true, 2) if !self.packet.is_empty() => {
                    self.packet.extend_from_slice(&[first, second]);
                }
                _ => {}
            }
            if self.packet.len() > PACKET {
                self.packet.clear();
            }
            self.look_at_packet();
        }
    }

    /// Two bytes of CEA-608: who sends captions sends commands among them, which say whose they are.
    fn line(&mut self, field: u8, first: u8, second: u8) {
        if (0x10..=0x1f).contains(&first) && second >= 0x20 {
            self.seen.lines |= 1 << (2 * field + (first >> 3 & 1));
        }
    }

    /// Ends a packet that is all there.
    fn look_at_packet(&mut self) {
        let Some(head) = self.packet.first() else { return };
        let size = match head & 63 {
            0 => PACKET,
            size => 2 * usize::from(size),
        };
        if self.packet.len() >= size {
            self.end_packet();
        }
    }

    fn end_packet(&mut self) {
        let mut rest = self.packet.get(1..).unwrap_or_default();
        while let Some((head, behind)) = rest.split_first() {
            let (mut service, size) = (head >> 5, usize::from(head & 31));
            rest = behind;
            if service == 7 && size > 0 {
                let Some((number, behind)) = rest.split_first() else { break };
                (service, rest) = (number & 63, behind);
            }
            if service == 0 {
                break;
            }
            if size > 0 {
                self.seen.services |= 1 << service;
            }
            rest = rest.get(size..).unwrap_or_default();
        }
        self.packet.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cc_data` with these triplets, as SEI of H.264 behind a length, with a message before it.
    fn sei(triplets: &[[u8; 3]]) -> Vec<u8> {
        let data: Vec<u8> = triplets.concat();
        let payload = [ATSC, &[0x40 | triplets.len() as u8, 0xff], &data, &[0xff]].concat();
        let unit = [&[6, 5, 2, 9, 9, 4, payload.len() as u8][..], &payload, &[0x80]].concat();
        [&(unit.len() as u32).to_be_bytes()[..], &unit].concat()
    }

    fn seen(scanner: &Scanner) -> (Vec<u8>, Vec<u8>) {
        (scanner.seen().lines().collect(), scanner.seen().services().collect())
    }

    #[test]
    fn channels_and_services_are_found() {
        let mut scanner = Scanner::default();
        let look = |scanner: &mut Scanner, triplets: &[[u8; 3]]| {
            scanner.look(&Codec::H264, Framing::Length(4), &sei(triplets));
        };
        // Filling, in both fields and as packets, and words that no command says anything of.
        look(&mut scanner, &[[0xfc, 0x80, 0x80], [0xfd, 0x80, 0x80], [0xfa, 0, 0], [0xfc, b'a', b'b']]);
        assert!(scanner.seen().is_empty());
        // Not valid.
        look(&mut scanner, &[[0xf8, 0x94, 0x20]]);
        assert!(scanner.seen().is_empty());
        look(&mut scanner, &[[0xfc, 0x94, 0x20]]);
        assert_eq!(seen(&scanner), (vec![1], vec![]));
        look(&mut scanner, &[[0xfd, 0x1c, 0x25]]);
        assert_eq!(seen(&scanner), (vec![1, 4], vec![]));
        // A packet of three pairs over two pictures: two bytes of service 1, none of service 2.
        look(&mut scanner, &[[0xff, 0x03, 1 << 5 | 2]]);
        assert!(seen(&scanner).1.is_empty());
        look(&mut scanner, &[[0xfe, b'h', b'i'], [0xfe, 2 << 5, 0]]);
        assert_eq!(seen(&scanner).1, [1]);
        // An extended one, which the next packet ends.
        look(&mut scanner, &[[0xff, 0x08, 7 << 5 | 1], [0xfe, 33, b'x'], [0xff, 0x01, 0]]);
        assert_eq!(seen(&scanner).1, [1, 33]);
        let (some, none) = (scanner.seen(), Captions::default());
        assert_eq!((some.and(none), some.or(none)), (none, some));
    }

    #[test]
    fn other_codecs_have_them_too() {
        let message = sei(&[[0xfc, 0x94, 0x20]]);
        let hevc = [&((message.len() - 3) as u32).to_be_bytes()[..], &[39 << 1, 1], &message[5..]].concat();
        let payload = &message[4 + 7..message.len() - 1];
        let av1 = [&[AV1_METADATA << 3 | 2, payload.len() as u8 + 1, AV1_REGISTERED][..], payload].concat();
        for (codec, data) in [(Codec::Hevc, hevc), (Codec::Av1, av1)] {
            let mut scanner = Scanner::default();
            scanner.look(&codec, Framing::Length(4), &data);
            assert_eq!(seen(&scanner).0, [1], "{codec}");
        }
    }

    #[test]
    fn damage_is_passed_over() {
        let whole = sei(&[[0xfc, 0x94, 0x20], [0xff, 0x03, 0x21]]);
        for end in 0..whole.len() {
            for at in 0..end {
                let mut data = whole[..end].to_vec();
                data[at] ^= 0xff;
                let mut scanner = Scanner::default();
                scanner.look(&Codec::H264, Framing::Length(4), &data);
                scanner.messages(&data);
                scanner.registered(&data);
            }
        }
    }
}
