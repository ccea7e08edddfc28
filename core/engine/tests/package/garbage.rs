//! Damaged input: every parser, and the segmenter behind them, answers with an error or a value, never with a panic.
//! Deterministic, so that a failure can be repeated.

use crate::media::{make, read};
use crate::remux::grid;
use bytes::Bytes;
use ghoststream::package::bitstream::{aac, ac3, av1, flac, h264, hevc, mp3, nal, opus, vp9};
use ghoststream::package::{Container, Options, Segmenter, Track, TrackSpec, webvtt};
use ghoststream::packet::{Packet, SideData, StreamInfo};
use ghoststream::time::{Rational, Timestamp};

/// xorshift64*: no dependency, the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// A copy with some bits flipped, bytes set, cut short or doubled. Mostly near the front, where headers are.
    fn damage(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = data.to_vec();
        for _ in 0..=self.below(4) {
            let near = if self.below(3) > 0 { out.len().min(64) } else { out.len() };
            let at = self.below(near);
            match self.below(5) {
                0 => out.truncate(at),
                1 if !out.is_empty() => out[at] ^= 1 << self.below(8),
                2 if !out.is_empty() => out[at] = [0, 1, 0xff, 0x7f, 0x80][self.below(5)],
                3 => out.insert(at, self.next() as u8),
                _ => {
                    let tail = out[at..].to_vec();
                    out.extend_from_slice(&tail[..tail.len().min(256)]);
                }
            }
        }
        out
    }
}

/// Everything that reads bytes. Results do not matter, coming back does.
fn parse_everything(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = h264::Config::parse(data).map(|c| c.to_avcc());
    let _ = h264::Config::from_annex_b(data).map(|c| c.to_avcc());
    let _ = h264::Sps::parse(data);
    let _ = hevc::Config::parse(data).map(|c| c.to_hvcc());
    let _ = hevc::Config::from_annex_b(data).map(|c| c.to_hvcc());
    let _ = hevc::Sps::parse(data);
    let _ = av1::Config::parse(data).map(|c| c.to_av1c());
    let _ = av1::strip(&bytes);
    let _ = vp9::Config::parse(data).map(|mut c| {
        c.set_rate(30.0);
        c.to_vpcc(c.colour)
    });
    let _ = aac::Config::parse(data).map(|c| c.adts_header(data.len()));
    let _ = aac::Adts::frames(data).map(|f| f.len());
    let _ = opus::Config::parse(data).map(|c| c.to_dops());
    let _ = opus::packet_samples(data);
    let _ = flac::Config::parse(data).map(|c| c.to_dfla());
    let _ = ac3::Config::parse(data).map(|c| c.to_record());
    let _ = mp3::Config::parse(data);
    for size in 0..6 {
        let _ = nal::Framing::Length(size).units(data);
    }
    let _ = nal::annex_b_units(data).count();
    let _ = nal::unescape(data);
    let text = String::from_utf8_lossy(data);
    let _ = webvtt::parse(&text);
    let _ = webvtt::file(&webvtt::parse_srt(&text));
    let _ = webvtt::file(&webvtt::parse_ass(&text));
    let _ = (webvtt::ass_payload(&text), webvtt::srt_payload(&text));
}

fn clips(dir: &std::path::Path) -> Vec<(Vec<StreamInfo>, Vec<Packet>)> {
    let video =
        "-f lavfi -i testsrc2=s=64x64:r=25:d=0.4 -f lavfi -i sine=r=48000:d=0.4 -pix_fmt yuv420p -g 5";
    let codecs = [
        ("a.mp4", "-c:v libx264 -bf 2 -c:a aac"),
        ("b.ts", "-c:v libx264 -c:a aac"),
        ("c.mkv", "-c:v libx265 -x265-params log-level=none -c:a libopus"),
        ("d.mkv", "-c:v libsvtav1 -preset 12 -c:a flac"),
        ("e.mkv", "-c:v libvpx-vp9 -deadline realtime -c:a libmp3lame"),
        ("f.mkv", "-c:v libx264 -c:a eac3"),
        ("g.mkv", "-c:v libx264 -c:a ac3"),
    ];
    codecs
        .iter()
        .map(|(name, args)| {
            let path = dir.join(name);
            make(&path, &format!("{video} {args}"));
            read(&path)
        })
        .collect()
}

#[test]
fn parsers_survive() {
    let dir = tempfile::tempdir().unwrap();
    let mut seeds: Vec<Vec<u8>> = vec![
        b"WEBVTT\n\n1\n00:00.000 --> 00:01.000 line:0\n<i>a</i>\n\n".to_vec(),
        b"1\n00:00:00,000 --> 00:00:01,000\n{\\an8}<b>a\n\n".to_vec(),
        b"Format: Start, End, Text\nDialogue: 0:00:00.00,0:00:01.00,{\\i1\\p0}a\\Nb{\\i0}\n".to_vec(),
    ];
    for (streams, packets) in clips(dir.path()) {
        seeds.extend(streams.iter().map(|s| s.extradata.to_vec()));
        seeds.extend(packets.iter().take(4).map(|p| p.data[..p.data.len().min(2000)].to_vec()));
    }
    // The parameter sets inside records, so that damage reaches their depths.
    let records: Vec<Vec<u8>> = seeds.clone();
    for seed in &records {
        if let Ok(c) = hevc::Config::parse(seed) {
            seeds.extend(c.sps.iter().map(|s| s.to_vec()));
        }
        if let Ok(c) = h264::Config::parse(seed) {
            seeds.extend(c.sps.iter().map(|s| s.to_vec()));
        }
    }
    let mut random = Random(0x1234_5678_9abc_def1);
    parse_everything(&[]);
    for seed in &seeds {
        for end in 0..seed.len().min(200) {
            parse_everything(&seed[..end]);
        }
        for _ in 0..200 {
            parse_everything(&random.damage(seed));
        }
    }
    for _ in 0..2000 {
        let noise: Vec<u8> = (0..random.below(80)).map(|_| random.next() as u8).collect();
        parse_everything(&noise);
    }
}

#[test]
fn the_segmenter_survives() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(0xfeed_beef_dead_cafe);
    let times = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX, 1 << 40];
    for (streams, packets) in clips(dir.path()) {
        for round in 0..60 {
            let mut options = Options::new(grid(200), [Container::Cmaf, Container::Ts][round % 2]);
            let ts = options.container == Container::Ts;
            options.eager = round % 3 == 0;
            options.index = round % 5 == 0;
            options.key_chunk = !options.index && round % 2 == 0;
            options.first = (round % 7 == 0).into();
            options.part = (!ts && round % 4 < 2).then(|| Timestamp::new(70, Rational::new(1, 1000)));
            let mut specs = Vec::new();
            for (i, info) in streams.iter().enumerate() {
                let mut info = info.clone();
                if round % 6 == 5 {
                    info.extradata = random.damage(&info.extradata).into();
                }
                let _ = Track::new(&info, packets.first());
                specs.push(TrackSpec { info, group: if ts { 0 } else { i } });
            }
            let mut segmenter = Segmenter::new(specs, options).unwrap();
            for packet in &packets {
                let mut packet = packet.clone();
                if random.below(4) == 0 {
                    match random.below(7) {
                        0 => packet.data = random.damage(&packet.data).into(),
                        1 => packet.pts = None,
                        2 => packet.dts = None,
                        3 => packet.pts = Some(times[random.below(times.len())]),
                        4 => packet.dts = Some(times[random.below(times.len())]),
                        5 => packet.duration = times[random.below(times.len())],
                        _ => {
                            packet.key = !packet.key;
                            packet.side_data.push(SideData::SkipSamples { start: u32::MAX, end: u32::MAX });
                        }
                    }
                }
                if segmenter.push(packet.stream, &packet).is_err() && random.below(2) == 0 {
                    break;
                }
            }
            let _ = segmenter.finish();
        }
    }
}
