//! Coded frames into RTP: H.264 (RFC 6184), H.265 (RFC 7798), AAC (RFC 3640) and Opus (RFC 7587), VP8, VP9 and AV1 as `pictures`
//! says, with what SDP says of them and sender reports. Sans-IO. Packets are framed for the connection that RTSP is spoken in.

use super::pictures::{self, Coding};
use bytes::Bytes;
use ghoststream::package::bitstream::nal::Framing;
use ghoststream::package::bitstream::{aac, av1, h264, hevc};
use ghoststream::packet::{Codec, Packet, StreamInfo};
use ghoststream::time::{MICROSECONDS, Rational, Rounding, rescale};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest payload of pictures.
const MOST: usize = 1400;
/// The longest frame of AAC: its length has 13 bits.
const FRAME: usize = (1 << 13) - 1;
/// From 1900, where NTP begins, to 1970, in seconds.
const NTP: u64 = 2_208_988_800;
/// Sources of one sender have one name; there is nothing to tell apart here.
const NAME: &[u8; 11] = b"ghoststream";

#[derive(Clone, Debug)]
enum Kind {
    H264,
    H265,
    Pictures(Coding),
    Aac,
    Opus,
}

/// Makes one track's packets.
#[derive(Clone, Debug)]
pub struct Packetizer {
    kind: Kind,
    /// Parameter sets (of AV1: the sequence header), which come in front of key frames that have none.
    sets: Vec<Bytes>,
    /// What SDP says behind the payload's type.
    map: String,
    parameters: String,
    payload: u8,
    clock: u32,
    source: u32,
    sequence: u16,
    /// The time stamp at the stream's time 0.
    zero: u32,
    /// Counts pictures of VP9.
    pictures: u16,
    packets: u32,
    octets: u32,
}

impl Packetizer {
    /// For packets of `info`, as payload type `payload`; `seed` is any number that nobody can guess. `None` for what is not
    /// sent by RTP here.
    pub fn new(info: &StreamInfo, payload: u8, seed: u64) -> Option<Packetizer> {
        let (kind, sets) = (kind(&info.codec)?, sets(info)?);
        let (map, clock, parameters) = match kind {
            Kind::H264 => {
                let config = h264::Config::parse(&info.extradata).ok()?;
                let profile = config.sps.first().and_then(|sps| sps.get(1..4)).map(hex).unwrap_or_default();
                let all: Vec<String> = sets.iter().map(|set| base64(set)).collect();
                let said = format!(
                    "packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={}",
                    all.join(",")
                );
                ("H264/90000".to_string(), 90_000, said)
            }
            Kind::H265 => {
                let config = hevc::Config::parse(&info.extradata).ok()?;
                let of = |sets: &[Bytes]| sets.iter().map(|set| base64(set)).collect::<Vec<_>>().join(",");
                let (vps, sps, pps) = (of(&config.vps), of(&config.sps), of(&config.pps));
                let said = format!("sprop-vps={vps};sprop-sps={sps};sprop-pps={pps}");
                ("H265/90000".into(), 90_000, said)
            }
            Kind::Aac => {
                let config = aac::Config::parse(&info.extradata).ok()?;
                let rate = info.audio.as_ref().map(|a| a.sample_rate).filter(|rate| *rate > 0)?;
                let channels = config.channels().unwrap_or(2);
                let said = format!(
                    "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config={}",
                    hex(&info.extradata)
                );
                (format!("mpeg4-generic/{rate}/{channels}"), rate, said)
            }
            Kind::Pictures(Coding::Vp8) => ("VP8/90000".into(), 90_000, String::new()),
            Kind::Pictures(Coding::Vp9) => {
                let said = info.profile.map(|profile| format!("profile-id={profile}"));
                ("VP9/90000".into(), 90_000, said.unwrap_or_default())
            }
            Kind::Pictures(Coding::Av1) => {
                let header = av1::Config::parse(&info.extradata).ok()?.info;
                let (profile, level, tier) = (header.profile, header.level, u8::from(header.high_tier));
                ("AV1/90000".into(), 90_000, format!("profile={profile};level-idx={level};tier={tier}"))
            }
            // Always two channels in SDP; what is said of stereo is what is sent.
            Kind::Opus => ("opus/48000/2".into(), 48_000, "sprop-stereo=1".into()),
        };
        Some(Packetizer {
            kind,
            sets,
            map,
            parameters,
            payload,
            clock,
            source: (seed >> 32) as u32,
            sequence: (seed >> 16) as u16,
            zero: seed as u32,
            pictures: (seed >> 8) as u16,
            packets: 0,
            octets: 0,
        })
    }

    /// The lines of SDP for the track; `control` is what SETUP calls it.
    pub fn describe(&self, control: &str) -> String {
        let Packetizer { map, parameters, payload, .. } = self;
        let kind = if matches!(self.kind, Kind::Aac | Kind::Opus) { "audio" } else { "video" };
        let parameters = match parameters.is_empty() {
            true => String::new(),
            false => format!("a=fmtp:{payload} {parameters}\r\n"),
        };
        format!(
            "m={kind} 0 RTP/AVP {payload}\r\na=rtpmap:{payload} {map}\r\n{parameters}a=control:{control}\r\n"
        )
    }

    /// The source that its packets name.
    pub fn source(&self) -> u32 {
        self.source
    }

    /// Takes over another description of the track; `false` when receivers would have to be told.
    pub fn follow(&mut self, info: &StreamInfo) -> bool {
        let Some(other) = Packetizer::new(info, self.payload, 0) else { return false };
        let same = match self.kind {
            // Pictures bring their parameter sets with them.
            Kind::H264 | Kind::H265 | Kind::Pictures(_) => other.map == self.map,
            Kind::Aac | Kind::Opus => other.map == self.map && other.parameters == self.parameters,
        };
        self.sets = other.sets;
        same
    }

    /// Appends a packet of the stream, as packets of interleaved `channel`. What is damaged is left out.
    pub fn push(&mut self, packet: &Packet, channel: u8, out: &mut Vec<u8>) {
        let Some(time) = packet.pts.or(packet.dts) else { return };
        let time = self.ticks(rescale(time, packet.base, self.base(), Rounding::Nearest));
        match self.kind {
            Kind::H264 | Kind::H265 => {
                let Ok(units) = Framing::Length(4).units(&packet.data) else { return };
                let sets = match packet.key && !units.iter().any(|u| self.is_set(u)) {
                    true => self.sets.clone(),
                    false => Vec::new(),
                };
                let all: Vec<&[u8]> = sets.iter().map(|set| &set[..]).chain(units).collect();
                let all: Vec<&[u8]> = all.into_iter().filter(|unit| unit.len() > 2).collect();
                for (n, unit) in all.iter().enumerate() {
                    self.unit(unit, time, n + 1 == all.len(), channel, out);
                }
            }
            Kind::Pictures(coding) => {
                self.pictures = self.pictures.wrapping_add(1);
                let (number, sequence) = (self.pictures, self.sets.first().cloned().unwrap_or_default());
                let all = pictures::payloads(coding, &packet.data, packet.key, number, &sequence, MOST);
                for (n, payload) in all.iter().enumerate() {
                    self.put(&[], payload, time, n + 1 == all.len(), channel, out);
                }
            }
            Kind::Aac if packet.data.len() <= FRAME => {
                let size = (packet.data.len() << 3) as u16;
                let [high, low] = size.to_be_bytes();
                self.put(&[0, 16, high, low], &packet.data, time, true, channel, out);
            }
            Kind::Aac => {}
            Kind::Opus => self.put(&[], &packet.data, time, true, channel, out),
        }
    }

    /// Whether a unit is a set of parameters that pictures need.
    fn is_set(&self, unit: &[u8]) -> bool {
        match self.kind {
            Kind::H264 => h264::unit_type(unit) == 7,
            _ => hevc::unit_type(unit) == 33,
        }
    }

    fn unit(&mut self, unit: &[u8], time: u32, last: bool, channel: u8, out: &mut Vec<u8>) {
        if unit.len() <= MOST {
            return self.put(&[], unit, time, last, channel, out);
        }
        // The unit's own head is taken apart: in front of each piece are one like it and the unit's type.
        let (head, rest, kind) = match self.kind {
            Kind::H264 => (vec![unit[0] & 0xe0 | 28], &unit[1..], unit[0] & 31),
            _ => (vec![unit[0] & 0x81 | 49 << 1, unit[1]], &unit[2..], unit[0] >> 1 & 63),
        };
        let pieces = rest.len().div_ceil(MOST);
        for (n, piece) in rest.chunks(MOST).enumerate() {
            let (begin, end) = (n == 0, n + 1 == pieces);
            let mut front = head.clone();
            front.push(kind | u8::from(begin) << 7 | u8::from(end) << 6);
            self.put(&front, piece, time, last && end, channel, out);
        }
    }

    fn put(&mut self, front: &[u8], data: &[u8], time: u32, marker: bool, channel: u8, out: &mut Vec<u8>) {
        let length = front.len() + data.len();
        let Ok(whole) = u16::try_from(12 + length) else { return };
        out.extend_from_slice(&[b'$', channel]);
        out.extend_from_slice(&whole.to_be_bytes());
        out.extend_from_slice(&[0x80, self.payload | u8::from(marker) << 7]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&self.source.to_be_bytes());
        out.extend_from_slice(front);
        out.extend_from_slice(data);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(length as u32);
    }

    /// Appends a sender report (RFC 3550): what `micros` of the stream's time, at `wall`, are as a time stamp. Gives the wall clock as it
    /// stands there: seconds since 1900 and fractions, 32 bits each.
    pub fn report(&self, micros: i64, wall: SystemTime, channel: u8, out: &mut Vec<u8>) -> u64 {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let ticks = self.ticks(rescale(micros, MICROSECONDS, self.base(), Rounding::Nearest));
        let fraction = ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000) as u32;
        out.extend_from_slice(&[b'$', channel, 0, 28 + 24, 0x80, 200, 0, 6]);
        let seconds = (since.as_secs() + NTP) as u32;
        let words = [self.source, seconds, fraction, ticks, self.packets, self.octets];
        words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
        // Receivers put together what has one name.
        out.extend_from_slice(&[0x81, 202, 0, 5]);
        out.extend_from_slice(&self.source.to_be_bytes());
        out.extend_from_slice(&[1, NAME.len() as u8]);
        out.extend_from_slice(NAME);
        out.extend_from_slice(&[0; 3]);
        u64::from(seconds) << 32 | u64::from(fraction)
    }

    fn base(&self) -> Rational {
        Rational::new(1, i32::try_from(self.clock).unwrap_or(90_000))
    }

    /// A time stamp: they begin anywhere, and begin again.
    fn ticks(&self, time: i64) -> u32 {
        self.zero.wrapping_add(time as u32)
    }
}

fn kind(codec: &Codec) -> Option<Kind> {
    match codec {
        Codec::H264 => Some(Kind::H264),
        Codec::Hevc => Some(Kind::H265),
        Codec::Vp8 => Some(Kind::Pictures(Coding::Vp8)),
        Codec::Vp9 => Some(Kind::Pictures(Coding::Vp9)),
        Codec::Av1 => Some(Kind::Pictures(Coding::Av1)),
        Codec::Aac => Some(Kind::Aac),
        Codec::Opus => Some(Kind::Opus),
        _ => None,
    }
}

/// What key frames of pictures need in front of them.
fn sets(info: &StreamInfo) -> Option<Vec<Bytes>> {
    match info.codec {
        Codec::H264 => {
            let config = h264::Config::parse(&info.extradata).ok()?;
            Some([config.sps, config.pps].concat())
        }
        Codec::Hevc => {
            let config = hevc::Config::parse(&info.extradata).ok()?;
            Some([config.vps, config.sps, config.pps].concat())
        }
        Codec::Av1 => Some(vec![av1::Config::parse(&info.extradata).ok()?.config_obus]),
        _ => Some(Vec::new()),
    }
}

fn hex(data: &[u8]) -> String {
    data.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for group in data.chunks(3) {
        let byte = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * n) & 63) as usize];
            text.push(if n <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::depacketize::{Depacketizer, Format, Frame, Rtp};
    use super::*;
    use crate::live::describe;

    fn read(out: &[u8]) -> Vec<(u8, Bytes)> {
        let (mut at, mut packets) = (0, Vec::new());
        while at < out.len() {
            assert_eq!(out[at], b'$');
            let length = usize::from(u16::from_be_bytes([out[at + 2], out[at + 3]]));
            packets.push((out[at + 1], Bytes::copy_from_slice(&out[at + 4..at + 4 + length])));
            at += 4 + length;
        }
        packets
    }

    fn sound(codec: Codec, extradata: &[u8]) -> StreamInfo {
        describe::audio(codec, Bytes::copy_from_slice(extradata), Rational::new(1, 48_000)).unwrap()
    }

    /// A packetizer of pictures without any description.
    fn pictures(kind: Kind) -> Packetizer {
        let opus = [&b"OpusHead\x01\x02\0\0"[..], &48_000u32.to_le_bytes(), &[0, 0, 0]].concat();
        let like = Packetizer::new(&sound(Codec::Opus, &opus), 96, 0xfeed_beef_ffff_fff0).unwrap();
        Packetizer { kind, clock: 90_000, ..like }
    }

    fn again(out: &[u8], format: &Format) -> Vec<Frame> {
        let mut depacketizer = Depacketizer::new(format);
        let frames =
            read(out).iter().flat_map(|(_, data)| depacketizer.push(&Rtp::read(data).unwrap())).collect();
        assert_eq!(depacketizer.lost(), 0);
        frames
    }

    fn prefixed(units: &[&[u8]]) -> Bytes {
        units
            .iter()
            .flat_map(|u| [&(u.len() as u32).to_be_bytes()[..], u].concat())
            .collect::<Vec<u8>>()
            .into()
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let long: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        for (kind, format, key, other, set) in [
            (
                Kind::H264,
                Format::H264 { sets: Vec::new() },
                &[0x65u8][..],
                &[0x41u8][..],
                &[0x67u8, 1, 2, 3][..],
            ),
            (
                Kind::H265,
                Format::H265 { sets: Vec::new() },
                &[0x26u8, 1][..],
                &[0x02u8, 1][..],
                &[0x42u8, 1, 2, 3][..],
            ),
        ] {
            let mut packetizer = Packetizer { sets: vec![Bytes::copy_from_slice(set)], ..pictures(kind) };
            let (first, second) = ([key, &long].concat(), [other, &[7; 100]].concat());
            let mut out = Vec::new();
            for (data, pts, key) in [(&first, 0, true), (&second, 40, false)] {
                let mut packet = Packet::new(prefixed(&[data]), pts, 40, Rational::new(1, 1000));
                packet.key = key;
                packetizer.push(&packet, 4, &mut out);
            }
            assert!(read(&out).iter().all(|(channel, data)| *channel == 4 && data.len() < 1500));
            let frames = again(&out, &format);
            assert_eq!(frames[0].data, prefixed(&[set, &first]), "with the parameter sets that it lacked");
            assert_eq!((frames[0].key, &frames[1].data, frames[1].key), (true, &prefixed(&[&second]), false));
            assert_eq!(frames[1].timestamp.wrapping_sub(frames[0].timestamp), 3600);
        }
    }

    #[test]
    fn sound_is_sent_frame_by_frame() {
        let aac = sound(Codec::Aac, &[0x11, 0x90]);
        let mut packetizer = Packetizer::new(&aac, 97, 7).unwrap();
        assert!(packetizer.describe("trackID=1").contains("a=rtpmap:97 mpeg4-generic/48000/2\r\n"));
        assert!(packetizer.describe("trackID=1").contains("config=1190\r\n"));
        let mut out = Vec::new();
        packetizer.push(&Packet::new(vec![5; 300].into(), 1024, 1024, Rational::new(1, 48_000)), 2, &mut out);
        packetizer.push(
            &Packet::new(vec![5; 9000].into(), 2048, 1024, Rational::new(1, 48_000)),
            2,
            &mut out,
        );
        let format = Format::Aac { config: vec![0x11, 0x90], samples: 1024, bits: Some((13, 3, 3)) };
        let frames = again(&out, &format);
        assert_eq!((frames.len(), &frames[0].data[..], frames[0].timestamp), (1, &[5; 300][..], 7 + 1024));
        assert!(packetizer.follow(&aac) && !packetizer.follow(&sound(Codec::Aac, &[0x12, 0x10])));
    }

    #[test]
    fn reports_say_when_time_stamps_are() {
        let packetizer = pictures(Kind::H264);
        let mut out = Vec::new();
        let wall = packetizer.report(1_000_000, UNIX_EPOCH + Duration::from_millis(1500), 1, &mut out);
        assert_eq!(wall, 2_208_988_801 << 32 | 1 << 31);
        let [(1, report)] = &read(&out)[..] else { panic!() };
        let word =
            |at: usize| u32::from_be_bytes([report[at], report[at + 1], report[at + 2], report[at + 3]]);
        assert_eq!((report[1], word(4), word(8), word(12)), (200, 0xfeed_beef, 2_208_988_801, 1 << 31));
        assert_eq!(word(16), 0xffff_fff0u32.wrapping_add(90_000));
        // The name, in whole words.
        assert_eq!((report[29], usize::from(report[31]) * 4 + 4), (202, report.len() - 28));
    }

    #[test]
    fn text_for_sdp() {
        assert_eq!(
            [&b""[..], b"f", b"fo", b"foo", b"foob"].map(base64),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
        assert_eq!(hex(&[0, 0x9f]), "009f");
    }
}
