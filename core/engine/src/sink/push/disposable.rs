//! Which pictures no other refers to, as far as their own bytes tell.

use crate::package::bitstream::nal::Framing;
use crate::packet::{Codec, Packet, StreamInfo};

/// Looks at the pictures of one track.
pub(super) struct Disposable {
    codec: Codec,
    /// Bytes of a NAL unit's length, where it is not Annex B.
    length: u8,
    /// HEVC: the highest temporal layer so far. Pictures below it may be referred to by those above.
    layer: u8,
}

impl Disposable {
    pub fn new(stream: &StreamInfo) -> Disposable {
        let set_up = &stream.extradata;
        let length = match (&stream.codec, set_up.first()) {
            (Codec::H264, Some(1)) => set_up.get(4).map_or(4, |b| (b & 3) + 1),
            (Codec::Hevc, Some(1)) => set_up.get(21).map_or(4, |b| (b & 3) + 1),
            _ => 0,
        };
        Disposable { codec: stream.codec.clone(), length, layer: 0 }
    }

    /// Whether all others can be decoded without it. `false` when its bytes do not tell.
    pub fn is(&mut self, packet: &Packet) -> bool {
        if packet.key || !matches!(self.codec, Codec::H264 | Codec::Hevc) {
            return false;
        }
        let framing = match self.length {
            0 => Framing::AnnexB,
            length => Framing::Length(length),
        };
        let Ok(units) = framing.units(&packet.data) else { return false };
        let mut any = false;
        for unit in units {
            let disposable = match (&self.codec, unit) {
                // Slices: types 1 to 5; nal_ref_idc 0 is said by those that nobody refers to.
                (Codec::H264, [head, ..]) if (1..=5).contains(&(head & 0x1f)) => head & 0x60 == 0,
                (Codec::Hevc, [a, b, ..]) if (a >> 1) & 0x3f < 32 => {
                    let (kind, layer) = ((a >> 1) & 0x3f, (b & 7).saturating_sub(1));
                    self.layer = self.layer.max(layer);
                    // Even types up to 14 are the sub-layer's own non-references.
                    kind <= 14 && kind % 2 == 0 && layer >= self.layer
                }
                _ => continue,
            };
            if !disposable {
                return false;
            }
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::MediaKind;
    use crate::time::MICROSECONDS;
    use bytes::Bytes;

    fn is(codec: Codec, extradata: &[u8], data: &[u8]) -> bool {
        let mut stream = StreamInfo::new(MediaKind::Video, codec, MICROSECONDS);
        stream.extradata = Bytes::copy_from_slice(extradata);
        let packet = Packet { key: false, ..Packet::new(Bytes::copy_from_slice(data), 0, 1, MICROSECONDS) };
        Disposable::new(&stream).is(&packet)
    }

    #[test]
    fn only_what_says_so_is() {
        let avcc = [1, 100, 0, 30, 0xff, 0xe1];
        assert!(is(Codec::H264, &avcc, &[0, 0, 0, 2, 0x06, 1, 0, 0, 0, 2, 0x01, 9]));
        assert!(!is(Codec::H264, &avcc, &[0, 0, 0, 2, 0x41, 9]));
        assert!(!is(Codec::H264, &avcc, &[0, 0, 0, 2, 0x01, 9, 0, 0, 0, 2, 0x61, 9]), "one slice is enough");
        assert!(!is(Codec::H264, &avcc, &[0, 0, 0, 9, 0x01]), "damaged");
        assert!(!is(Codec::H264, &avcc, &[0, 0, 0, 2, 0x06, 1]), "no slice");
        assert!(is(Codec::H264, &[], &[0, 0, 1, 0x01, 9]));
        assert!(
            is(Codec::Hevc, &[], &[0, 0, 1, 0x00, 1, 9]) && !is(Codec::Hevc, &[], &[0, 0, 1, 0x02, 1, 9])
        );
        assert!(!is(Codec::Av1, &[], &[0, 0, 1, 0x00, 1, 9]));
    }

    #[test]
    fn a_lower_temporal_layer_may_be_needed_by_a_higher_one() {
        let stream = StreamInfo::new(MediaKind::Video, Codec::Hevc, MICROSECONDS);
        let mut disposable = Disposable::new(&stream);
        let mut is = |layer: u8| {
            let data = Bytes::copy_from_slice(&[0, 0, 1, 0, layer + 1, 9]);
            disposable.is(&Packet { key: false, ..Packet::new(data, 0, 1, MICROSECONDS) })
        };
        assert!(is(0) && is(1) && !is(0));
    }
}
