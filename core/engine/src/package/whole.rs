//! Whether a packet is what its stream's packets are, as far as that can be seen without decoding.

use super::bitstream::{aac::Adts, av1, damaged, h264, hevc, nal::Framing};
use crate::error::Result;
use crate::packet::{Codec, StreamInfo};
use bytes::Bytes;

/// What is looked at in the packets of one stream. Damage that this does not see does no harm but to the picture.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whole {
    /// NAL units fill the packet.
    Units(Framing),
    /// ADTS frames fill the packet.
    Adts,
    /// OBUs fill the packet.
    Obus,
    /// Nothing can be said.
    Any,
}

impl Whole {
    /// For the packets of `info`. Headers that are damaged themselves are reported where they are used.
    pub fn of(info: &StreamInfo) -> Whole {
        let extra = &info.extradata;
        match info.codec {
            Codec::H264 | Codec::Hevc if extra.is_empty() => Whole::Units(Framing::AnnexB),
            Codec::H264 => h264::Config::parse(extra).map_or(Whole::Any, |c| Whole::Units(c.framing)),
            Codec::Hevc => hevc::Config::parse(extra).map_or(Whole::Any, |c| Whole::Units(c.framing)),
            Codec::Aac if extra.is_empty() => Whole::Adts,
            Codec::Av1 => Whole::Obus,
            _ => Whole::Any,
        }
    }

    /// An error that says what is wrong with `data`.
    pub fn check(self, data: &Bytes) -> Result<()> {
        match self {
            Whole::Units(framing) if framing.units(data)?.is_empty() => {
                Err(damaged("no NAL unit in a packet"))
            }
            Whole::Adts => Adts::frames(data).map(drop),
            Whole::Obus => av1::strip(data).map(drop),
            Whole::Units(_) | Whole::Any => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::MediaKind;
    use crate::time::MICROSECONDS;

    #[test]
    fn damage_is_seen_and_what_is_whole_passes() {
        let units = Whole::Units(Framing::Length(4));
        assert!(units.check(&Bytes::from_static(&[0, 0, 0, 2, 0x65, 1])).is_ok());
        for bad in [&[0, 0, 0, 9, 0x65, 1][..], &[0; 40], &[0, 0], &[]] {
            assert!(units.check(&Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
        }
        let adts = Whole::of(&StreamInfo::new(MediaKind::Audio, Codec::Aac, MICROSECONDS));
        let frame = [0xff, 0xf1, 0x4c, 0x80, 1, 0x1f, 0xfc, 7];
        assert!(adts.check(&Bytes::copy_from_slice(&frame)).is_ok());
        assert!(adts.check(&Bytes::copy_from_slice(&frame[1..])).is_err());
    }
}
