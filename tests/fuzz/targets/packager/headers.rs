//! Every parser of a stream's headers, and what is written from them.

use crate::input::CODECS;
use bytes::Bytes;
use ghoststream::Codec;
use ghoststream::package::bitstream::{aac, ac3, av1, captions, flac, h264, hevc, mp3, nal::Framing, opus, vp9};
use ghoststream::package::{Track, cmaf, language, ts};
use ghoststream::packet::{Packet, StreamInfo};
use ghoststream::time::Rational;

/// Gives `data` to all of them: as extradata, as a packet and as a single header.
pub fn run(data: &[u8]) {
    for framing in [Framing::AnnexB, Framing::Length(1), Framing::Length(2), Framing::Length(4)] {
        for unit in framing.units(data).unwrap_or_default() {
            assert!(!unit.is_empty() || framing != Framing::AnnexB);
            let _ = (h264::Sps::parse(unit), hevc::Sps::parse(unit));
        }
        for codec in [Codec::H264, Codec::Hevc, Codec::Av1] {
            let mut scanner = captions::Scanner::default();
            scanner.look(&codec, framing, data);
            scanner.look(&codec, framing, data);
        }
    }
    let _ = h264::Config::parse(data).map(|c| c.to_avcc());
    let _ = h264::Config::from_annex_b(data).map(|c| c.to_avcc());
    let _ = hevc::Config::parse(data).map(|c| c.to_hvcc());
    let _ = hevc::Config::from_annex_b(data).map(|c| c.to_hvcc());
    let _ = av1::obus(data);
    let _ = av1::SequenceHeader::parse(data);
    let _ = av1::Config::parse(data).map(|c| av1_again(&c));
    let _ = av1::Config::from_obus(data).map(|c| av1_again(&c));
    av1_stripped(data);
    let _ = vp9::Config::parse(data).map(|c| c.to_vpcc(c.colour));
    let _ = aac::Config::parse(data).map(|c| c.adts_header(data.len()));
    let _ = aac::Adts::frames(data);
    let _ = opus::Config::parse(data).map(|c| c.to_dops());
    let _ = opus::packet_samples(data);
    let _ = flac::Config::parse(data).map(|c| c.to_dfla());
    let _ = ac3::Config::parse(data).map(|c| c.to_record());
    let _ = mp3::Config::parse(data);
    let _ = language::tag(&String::from_utf8_lossy(data));

    let data = Bytes::copy_from_slice(data);
    for codec in CODECS {
        track(codec, &data);
    }
}

/// A record says what it was made of.
fn av1_again(config: &av1::Config) {
    let record = config.to_av1c();
    let i = &config.info;
    assert_eq!((record[0], record[1] >> 5, record[1] & 31), (0x81, i.profile, i.level));
    assert_eq!((record[2] >> 7 == 1, record[2] >> 4 & 1 == 1), (i.high_tier, i.monochrome));
    assert_eq!(av1::Config::parse(&record).as_ref().ok(), Some(config));
    assert_eq!(av1::Config::from_obus(&config.config_obus).as_ref().ok(), Some(config));
}

/// What is left of a temporal unit is its other units, in their order, and nothing can be taken from it again.
fn av1_stripped(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let (units, stripped) = (av1::obus(&data), av1::strip(&data));
    assert_eq!(units.is_ok(), stripped.is_ok());
    let (Ok(units), Ok(stripped)) = (units, stripped) else { return };
    let kept: Vec<u8> =
        units.iter().filter(|o| !matches!(o.kind, 2 | 8 | 15)).flat_map(|o| o.whole).copied().collect();
    assert_eq!(stripped, kept);
    assert_eq!(av1::strip(&stripped).ok().as_ref(), Some(&stripped));
}

/// A stream of `codec` whose extradata and first packet are `data`.
fn track(codec: &Codec, data: &Bytes) {
    let Some(kind) = codec.kind() else { return };
    let base = Rational::new(1, 90_000);
    let mut info = StreamInfo::new(kind, codec.clone(), base);
    let packet = Packet::new(data.clone(), 0, 3000, base);
    for extradata in [Bytes::new(), data.clone()] {
        info.extradata = extradata;
        let _ = Track::needs_packet(&info);
        let Ok(track) = Track::new(&info, Some(&packet)) else { continue };
        assert!(track.timescale > 0 && !track.codecs().is_empty());
        let _ =
            (track.codecs_ts(), track.supplemental_codecs(), track.frame_rate(), track.packet_samples(data));
        let _ = cmaf::init_segment(&track);
        let _ = cmaf::payload(&track, data);
        let _ = ts::Muxer::new(vec![track]);
    }
}
