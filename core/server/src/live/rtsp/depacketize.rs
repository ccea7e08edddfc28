//! RTP into coded frames: H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640, and RFC 6416 as GStreamer
//! sends it) and Opus (RFC 7587); VP8, VP9 and AV1 in `pictures`. Sans-IO; what is incomplete
//! is left out, and everything is bounded.

use super::pictures::{Coding, Coming};
use bytes::Bytes;

/// The largest frame.
pub(super) const FRAME: usize = 32 << 20;
/// The most bytes of sound that one marker ends.
const SOUND: usize = 1 << 20;
/// The most frames of sound in one packet.
const UNITS: usize = 64;

/// How a track's RTP is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// H.264 with the parameter sets that were announced.
    H264 {
        /// Without start codes.
        sets: Vec<Vec<u8>>,
    },
    /// H.265 with the parameter sets that were announced.
    H265 {
        /// Without start codes.
        sets: Vec<Vec<u8>>,
    },
    /// VP8, VP9 or AV1.
    Pictures(Coding),
    /// AAC.
    Aac {
        /// AudioSpecificConfig.
        config: Vec<u8>,
        /// Samples per frame.
        samples: u32,
        /// Bits of an access unit's size, its index, and of the further ones' index; `None` in LATM.
        bits: Option<(u32, u32, u32)>,
    },
    /// Opus.
    Opus,
}

impl Format {
    /// Whether it is pictures.
    pub fn is_video(&self) -> bool {
        matches!(self, Format::H264 { .. } | Format::H265 { .. } | Format::Pictures(_))
    }
}

/// A packet's header, read, with what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtp {
    /// Counts packets.
    pub sequence: u16,
    /// In ticks of the track's clock.
    pub timestamp: u32,
    /// The last of a frame.
    pub marker: bool,
    /// What it carries.
    pub payload: Bytes,
}

impl Rtp {
    /// Reads a packet (RFC 3550); `None` for what is none.
    pub fn read(data: &Bytes) -> Option<Rtp> {
        let head: &[u8; 12] = data.first_chunk()?;
        if head[0] >> 6 != 2 {
            return None;
        }
        let mut at = 12 + 4 * usize::from(head[0] & 15);
        if head[0] & 16 != 0 {
            let words = data.get(at + 2..at + 4)?;
            at += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        let mut end = data.len();
        if head[0] & 32 != 0 {
            end = end.checked_sub(usize::from(*data.last()?))?;
        }
        (at <= end).then(|| Rtp {
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            marker: head[1] & 128 != 0,
            payload: data.slice(at..end),
        })
    }
}

/// A coded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// H.264 and H.265: units behind four bytes of length; AV1: in the low-overhead format.
    pub data: Bytes,
    /// In ticks of the track's clock, as the publisher counts.
    pub timestamp: u32,
    /// Whether decoding can begin there.
    pub key: bool,
}

/// Puts a track's packets together.
#[derive(Clone, Debug)]
pub struct Depacketizer {
    kind: Kind,
    next: Option<u16>,
    /// Frames, or parts of them, that were left out.
    lost: u64,
}

#[derive(Clone, Debug)]
enum Kind {
    Units(Units),
    Pictures(Coming),
    Aac { samples: u32, bits: (u32, u32, u32), part: Vec<u8>, whole: usize },
    Latm { samples: u32, part: Vec<u8>, broken: bool },
    Opus,
}

/// A picture that is coming.
#[derive(Clone, Debug, Default)]
struct Units {
    hevc: bool,
    timestamp: u32,
    data: Vec<u8>,
    key: bool,
    /// A unit that comes in fragments.
    fragment: Vec<u8>,
    /// Something of it is missing.
    broken: bool,
}

impl Depacketizer {
    /// For packets of `format`.
    pub fn new(format: &Format) -> Depacketizer {
        let kind = match format {
            Format::H264 { .. } => Kind::Units(Units::default()),
            Format::H265 { .. } => Kind::Units(Units { hevc: true, ..Units::default() }),
            Format::Pictures(coding) => Kind::Pictures(Coming::new(*coding)),
            Format::Aac { samples, bits: Some(bits), .. } => {
                Kind::Aac { samples: *samples, bits: *bits, part: Vec::new(), whole: 0 }
            }
            Format::Aac { samples, bits: None, .. } => {
                Kind::Latm { samples: *samples, part: Vec::new(), broken: false }
            }
            Format::Opus => Kind::Opus,
        };
        Depacketizer { kind, next: None, lost: 0 }
    }

    /// Packets and frames that could not be used so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes a packet; gives the frames that are complete with it.
    pub fn push(&mut self, rtp: &Rtp) -> Vec<Frame> {
        let gap = self.next.is_some_and(|next| next != rtp.sequence);
        self.next = Some(rtp.sequence.wrapping_add(1));
        let mut frames = Vec::new();
        let taken = match &mut self.kind {
            Kind::Units(units) => units.push(rtp, gap, &mut frames),
            Kind::Pictures(coming) => coming.push(rtp, gap, &mut frames),
            Kind::Aac { samples, bits, part, whole } => {
                aac(rtp, gap, *samples, *bits, part, whole, &mut frames)
            }
            Kind::Latm { samples, part, broken } => {
                *broken |= gap;
                latm(rtp, *samples, part, broken, &mut frames)
            }
            Kind::Opus if rtp.payload.is_empty() => None,
            Kind::Opus => {
                frames.push(Frame { data: rtp.payload.clone(), timestamp: rtp.timestamp, key: true });
                Some(())
            }
        };
        self.lost += u64::from(taken.is_none() || gap);
        frames
    }
}

impl Units {
    /// `None` for a packet that is not understood.
    fn push(&mut self, rtp: &Rtp, gap: bool, frames: &mut Vec<Frame>) -> Option<()> {
        if gap {
            self.broken = true;
            self.fragment.clear();
        }
        if rtp.timestamp != self.timestamp {
            self.finish(frames);
            self.timestamp = rtp.timestamp;
            // What is missing may be the beginning of this picture.
            self.broken = gap;
        }
        let taken = self.payload(&rtp.payload);
        self.broken |= taken.is_none();
        if self.data.len() + self.fragment.len() > FRAME {
            self.data.clear();
            self.fragment.clear();
            self.broken = true;
        }
        if rtp.marker {
            self.finish(frames);
        }
        taken
    }

    fn payload(&mut self, payload: &[u8]) -> Option<()> {
        match (self.hevc, *payload.first()?) {
            (false, head) => match head & 31 {
                1..=23 => self.unit(payload),
                // STAP-A.
                24 => self.aggregate(&payload[1..]),
                // FU-A.
                28 => {
                    let (mark, rest) = payload[1..].split_first()?;
                    self.part(mark & 128 != 0, mark & 64 != 0, &[head & 0xe0 | mark & 31], rest)
                }
                _ => None,
            },
            (true, head) => {
                let second = *payload.get(1)?;
                match head >> 1 & 63 {
                    0..=47 => self.unit(payload),
                    48 => self.aggregate(&payload[2..]),
                    49 => {
                        let (mark, rest) = payload[2..].split_first()?;
                        let head = [head & 0x81 | (mark & 63) << 1, second];
                        self.part(mark & 128 != 0, mark & 64 != 0, &head, rest)
                    }
                    _ => None,
                }
            }
        }
    }

    fn aggregate(&mut self, mut rest: &[u8]) -> Option<()> {
        while let Some((size, behind)) = rest.split_first_chunk::<2>() {
            let size = usize::from(u16::from_be_bytes(*size));
            if size == 0 || size > behind.len() {
                return None;
            }
            self.unit(&behind[..size])?;
            rest = &behind[size..];
        }
        rest.is_empty().then_some(())
    }

    fn part(&mut self, first: bool, last: bool, head: &[u8], rest: &[u8]) -> Option<()> {
        if first {
            self.fragment = head.to_vec();
        } else if self.fragment.is_empty() {
            return None;
        }
        self.fragment.extend_from_slice(rest);
        if last {
            let unit = std::mem::take(&mut self.fragment);
            self.unit(&unit)?;
        }
        Some(())
    }

    fn unit(&mut self, unit: &[u8]) -> Option<()> {
        let head = *unit.first()?;
        let kind = if self.hevc { head >> 1 & 63 } else { head & 31 };
        let (delimiter, key) = match self.hevc {
            true => (kind == 35, (16..=21).contains(&kind)),
            false => (kind == 9, kind == 5),
        };
        if !delimiter {
            self.key |= key;
            self.data.extend_from_slice(&u32::try_from(unit.len()).ok()?.to_be_bytes());
            self.data.extend_from_slice(unit);
        }
        Some(())
    }

    fn finish(&mut self, frames: &mut Vec<Frame>) {
        self.fragment.clear();
        let (data, key) = (std::mem::take(&mut self.data), std::mem::take(&mut self.key));
        let broken = std::mem::take(&mut self.broken);
        if !data.is_empty() && !broken {
            frames.push(Frame { data: data.into(), timestamp: self.timestamp, key });
        }
    }
}

/// Access units behind their headers; one that is larger than a packet comes in several.
fn aac(
    rtp: &Rtp,
    gap: bool,
    samples: u32,
    (size, index, delta): (u32, u32, u32),
    part: &mut Vec<u8>,
    whole: &mut usize,
    frames: &mut Vec<Frame>,
) -> Option<()> {
    if gap {
        part.clear();
    }
    let (bits, rest) = rtp.payload.split_first_chunk::<2>()?;
    let bits = usize::from(u16::from_be_bytes(*bits));
    let (headers, mut media) = rest.split_at_checked(bits.div_ceil(8))?;
    let mut at = 0;
    let mut read = |count: u32| -> Option<usize> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *headers.get(at / 8)?;
            value = value << 1 | usize::from(byte >> (7 - at % 8) & 1);
            at += 1;
        }
        (at <= bits).then_some(value)
    };
    let mut sizes = Vec::new();
    let mut left = bits;
    while sizes.len() < UNITS {
        let behind = if sizes.is_empty() { index } else { delta };
        let Some(next) = left.checked_sub((size + behind) as usize) else { break };
        sizes.push(read(size)?);
        read(behind)?;
        left = next;
    }
    let mut frame = |data: Bytes, place: usize| {
        let later = samples.wrapping_mul(u32::try_from(place).unwrap_or(0));
        frames.push(Frame { data, timestamp: rtp.timestamp.wrapping_add(later), key: true });
    };
    if let [one] = sizes[..]
        && one > media.len()
    {
        // A piece of one: all of them say the size of the whole.
        if part.is_empty() {
            *whole = one;
        }
        if *whole != one || part.len() + media.len() > one {
            part.clear();
            return None;
        }
        part.extend_from_slice(media);
        if part.len() == one {
            frame(std::mem::take(part).into(), 0);
        }
        return Some(());
    }
    part.clear();
    for (place, size) in sizes.into_iter().enumerate() {
        let (unit, behind) = media.split_at_checked(size)?;
        if !unit.is_empty() {
            frame(rtp.payload.slice_ref(unit), place);
        }
        media = behind;
    }
    Some(())
}

/// Frames behind their lengths; the last packet of a row has a marker.
fn latm(
    rtp: &Rtp,
    samples: u32,
    part: &mut Vec<u8>,
    broken: &mut bool,
    frames: &mut Vec<Frame>,
) -> Option<()> {
    part.extend_from_slice(&rtp.payload);
    if part.len() > SOUND {
        part.clear();
        *broken = true;
    }
    if !rtp.marker {
        return Some(());
    }
    let whole = Bytes::from(std::mem::take(part));
    if std::mem::take(broken) {
        return None;
    }
    let (mut at, mut place) = (0, 0u32);
    while at < whole.len() {
        if place as usize == UNITS {
            return None;
        }
        let mut size = 0;
        loop {
            let more = *whole.get(at)?;
            (at, size) = (at + 1, size + usize::from(more));
            if more != 255 {
                break;
            }
        }
        let end = at.checked_add(size).filter(|end| *end <= whole.len() && size > 0)?;
        let later = samples.wrapping_mul(place);
        frames.push(Frame {
            data: whole.slice(at..end),
            timestamp: rtp.timestamp.wrapping_add(later),
            key: true,
        });
        (at, place) = (end, place + 1);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtp(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Rtp {
        Rtp { sequence, timestamp, marker, payload: Bytes::copy_from_slice(payload) }
    }

    fn h264() -> Depacketizer {
        Depacketizer::new(&Format::H264 { sets: Vec::new() })
    }

    #[test]
    fn headers_are_read() {
        let mut data = vec![0x80 | 0x20 | 0x10 | 1, 0x80 | 96, 1, 2, 0, 0, 0, 9, 0, 0, 0, 0];
        data.extend([0; 4]);
        data.extend([0xbe, 0xde, 0, 1, 1, 1, 1, 1]);
        data.extend(b"payload\0\0\x03");
        let read = Rtp::read(&data.clone().into()).unwrap();
        assert_eq!(read, rtp(0x102, 9, true, b"payload"));
        for length in 0..24 {
            assert_eq!(Rtp::read(&Bytes::copy_from_slice(&data[..length])), None, "{length}");
        }
        data[0] = 0x40;
        assert_eq!(Rtp::read(&data.into()), None);
    }

    #[test]
    fn units_become_pictures() {
        let mut h264 = h264();
        // Two sets in one packet, a key frame in three, without a delimiter.
        assert!(h264.push(&rtp(65535, 7, false, &[24, 0, 2, 0x67, 1, 0, 2, 0x68, 2])).is_empty());
        assert!(h264.push(&rtp(0, 7, false, &[9, 0xf0])).is_empty());
        assert!(h264.push(&rtp(1, 7, false, &[0x7c, 0x85, 0xaa])).is_empty());
        assert!(h264.push(&rtp(2, 7, false, &[0x7c, 0x05, 0xbb])).is_empty());
        let frames = h264.push(&rtp(3, 7, true, &[0x7c, 0x45, 0xcc]));
        let data =
            [&[0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x68, 2][..], &[0, 0, 0, 4, 0x65, 0xaa, 0xbb, 0xcc]].concat();
        assert_eq!(frames, [Frame { data: data.into(), timestamp: 7, key: true }]);
        // Without a marker the next time stamp ends it.
        assert!(h264.push(&rtp(4, 10, false, &[0x41, 1])).is_empty());
        let frames = h264.push(&rtp(5, 13, true, &[0x41, 2]));
        assert_eq!(
            frames.iter().map(|f| (f.timestamp, f.key)).collect::<Vec<_>>(),
            [(10, false), (13, false)]
        );
        assert_eq!(h264.lost(), 0);
        let mut h265 = Depacketizer::new(&Format::H265 { sets: Vec::new() });
        assert!(h265.push(&rtp(0, 0, false, &[0x60, 1, 0, 3, 0x40, 1, 9, 0, 3, 0x42, 1, 9])).is_empty());
        assert!(h265.push(&rtp(1, 0, false, &[0x62, 1, 0x80 | 19, 5])).is_empty());
        let frames = h265.push(&rtp(2, 0, true, &[0x62, 1, 0x40 | 19, 6]));
        assert!(frames[0].key && frames[0].data.ends_with(&[0, 0, 0, 4, 0x26, 1, 5, 6]), "{frames:?}");
    }

    #[test]
    fn what_is_incomplete_is_left_out() {
        let mut h264 = h264();
        h264.push(&rtp(0, 0, false, &[0x7c, 0x85, 1]));
        assert!(h264.push(&rtp(2, 0, true, &[0x7c, 0x45, 2])).is_empty());
        assert_eq!(h264.push(&rtp(3, 3, true, &[0x41, 2])).len(), 1);
        // The first slice of the next picture is missing.
        assert!(h264.push(&rtp(5, 6, true, &[0x41, 3])).is_empty());
        assert_eq!(h264.push(&rtp(6, 8, true, &[0x41, 4])).len(), 1);
        // The end of a fragment without its beginning, sizes that are too large, nothing at all.
        for bad in [&[0x7c, 0x45, 2][..], &[24, 0, 9, 1], &[24, 0, 0], &[30, 1], &[]] {
            let lost = h264.lost();
            let next = h264.next.unwrap();
            assert!(h264.push(&rtp(next, 9, true, bad)).is_empty(), "{bad:?}");
            assert_eq!(h264.lost(), lost + 1, "{bad:?}");
        }
    }

    #[test]
    fn aac_comes_several_to_a_packet_or_in_pieces() {
        let format = Format::Aac { config: Vec::new(), samples: 1024, bits: Some((13, 3, 3)) };
        let mut aac = Depacketizer::new(&format);
        let frames = aac.push(&rtp(0, 5, true, &[0, 32, 0, 2 << 3, 0, 1 << 3, 1, 2, 3]));
        let got: Vec<_> = frames.iter().map(|f| (f.timestamp, f.data.to_vec())).collect();
        assert_eq!(got, [(5, vec![1, 2]), (1029, vec![3])]);
        assert!(aac.push(&rtp(1, 9, false, &[0, 16, 0, 4 << 3, 1, 2])).is_empty());
        assert_eq!(aac.push(&rtp(2, 9, true, &[0, 16, 0, 4 << 3, 3, 4]))[0].data[..], [1, 2, 3, 4]);
        for bad in [&[0][..], &[0, 16, 0], &[255, 255, 0, 0], &[0, 32, 0, 2 << 3, 1, 0, 1]] {
            let next = aac.next.unwrap();
            assert!(aac.push(&rtp(next, 9, true, bad)).len() <= 1, "{bad:?}");
        }
        assert!(aac.lost() >= 3);
        let mut latm = Depacketizer::new(&Format::Aac { config: Vec::new(), samples: 1024, bits: None });
        let long = [&[255, 2][..], &[7; 257]].concat();
        assert!(latm.push(&rtp(0, 3, false, &long[..100])).is_empty());
        let frames = latm.push(&rtp(1, 3, true, &[&long[100..], &[1, 9]].concat()));
        let got: Vec<_> = frames.iter().map(|f| (f.timestamp, f.data.len())).collect();
        assert_eq!(got, [(3, 257), (1027, 1)]);
        assert!(latm.push(&rtp(2, 3, true, &[9, 1])).is_empty() && latm.lost() == 1);
    }
}
