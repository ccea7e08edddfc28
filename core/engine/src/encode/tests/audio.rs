use super::available;
use crate::encode::audio::{Wanted, wanted};
use crate::encode::{AudioEncoder, Encoder};
use crate::frame::{ChannelLayout, Frame, SampleFormat};
use crate::packet::{AudioInfo, Packet};
use crate::spec::AudioSpec;
use crate::stage::Stage;
use crate::time::Rational;
use ghoststream_sys::ffmpeg as av;

fn source(rate: u32, layout: &str) -> AudioInfo {
    AudioInfo {
        sample_rate: rate,
        layout: ChannelLayout::from_name(layout).unwrap(),
        format: Some(SampleFormat::F32P),
        frame_size: 0,
        initial_padding: 0,
    }
}

fn spec(json: &str) -> AudioSpec {
    serde_json::from_str(json).unwrap()
}

/// A 440 Hz tone at -12 dBFS from sample `start` on.
fn tone(wanted: &Wanted, start: i64, samples: usize) -> Frame {
    let p = &wanted.params;
    let mut media = av::Frame::alloc_audio(p.format, p.sample_rate, &p.layout, samples).unwrap();
    let channels = p.layout.channels as usize;
    let (planes, step) = if p.format.is_planar() { (channels, 1) } else { (1, channels) };
    let size = p.format.bytes();
    for plane in 0..planes {
        let bytes = media.plane_mut(plane).unwrap();
        for n in 0..samples {
            let phase = (start + n as i64) as f64 * 440.0 / f64::from(p.sample_rate);
            let value = 0.25 * (phase * std::f64::consts::TAU).sin();
            for c in 0..step {
                let at = (n * step + c) * size;
                match p.format {
                    SampleFormat::S16 | SampleFormat::S16P => {
                        bytes[at..at + 2].copy_from_slice(&((value * 32767.0) as i16).to_le_bytes());
                    }
                    SampleFormat::S32 | SampleFormat::S32P => {
                        bytes[at..at + 4].copy_from_slice(&((value * 2147483647.0) as i32).to_le_bytes());
                    }
                    _ => bytes[at..at + 4].copy_from_slice(&(value as f32).to_le_bytes()),
                }
            }
        }
    }
    media.set_pts(Some(start));
    media.set_duration(samples as i64);
    Frame::new(media, Rational::new(1, p.sample_rate as i32))
}

fn encode(name: &str, json: &str, rate: u32, total: i64) -> (Vec<Packet>, AudioEncoder, Wanted) {
    let spec = spec(json);
    let wanted = wanted(name, &spec, &source(rate, "stereo")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut encoder = AudioEncoder::new(name, &spec, wanted.clone()).unwrap();
    let step = if wanted.frame_size == 0 { 1024 } else { i64::from(wanted.frame_size) };
    let mut packets = Vec::new();
    let mut at = 0;
    while at < total {
        let samples = step.min(total - at);
        encoder
            .push(tone(&wanted, at, samples as usize), &mut packets)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        at += samples;
    }
    encoder.finish(&mut packets).unwrap();
    (packets, encoder, wanted)
}

const ALL: &[&str] = &[
    "aac",
    "libopus",
    "libmp3lame",
    "flac",
    "ac3",
    "eac3",
    "pcm_s16le",
    "pcm_f32le",
    "pcm_s24le",
    "libvorbis",
    "alac",
];

#[test]
fn every_audio_encoder_gives_every_sample_back_in_time() {
    for name in available(ALL) {
        let total = 48_000 + 123;
        let (packets, encoder, wanted) = encode(name, "{}", 48_000, total);
        let stream = encoder.stream().unwrap();
        let info = stream.audio.as_ref().unwrap();
        assert_eq!(
            (wanted.params.sample_rate, wanted.params.layout.name.as_str()),
            (48_000, "stereo"),
            "{name}"
        );
        assert_eq!(stream.time_base, Rational::new(1, 48_000), "{name}");
        let first = packets[0].pts.unwrap();
        if name != "libvorbis" {
            // libvorbis knows its delay only after its first packet; no container wants it in advance.
            assert_eq!(first, -i64::from(info.initial_padding), "{name}: priming comes before time zero");
        }
        assert!((-4096..=0).contains(&first), "{name}: {first}");
        let mut next = first;
        // FLAC ends with its final header and no sound.
        let packets: Vec<Packet> = packets.into_iter().filter(|p| !p.data.is_empty()).collect();
        for p in &packets {
            assert_eq!(p.pts, Some(next), "{name}: no gap and no overlap");
            assert!(p.key && p.duration > 0, "{name}");
            next += p.duration;
        }
        assert!(next >= total, "{name}: ends at {next}, before {total}");
        // Decoded: everything after the priming is there.
        let options = av::DecoderOptions { threads: 1, time_base: (1, 48_000), ..Default::default() };
        let mut decoder = av::Decoder::new(stream.native.as_ref().unwrap(), &options).unwrap();
        let (mut samples, mut peak) = (0, 0.0f32);
        for p in packets.iter().map(Some).chain([None]) {
            let p = p.map(|p| p.to_av(true).unwrap());
            decoder.send(p.as_ref()).unwrap();
            while let Some(frame) = decoder.receive().unwrap() {
                samples += frame.samples() as i64;
                if frame.sample_format() == SampleFormat::F32P {
                    for s in frame.plane(0)[..frame.samples() * 4].chunks_exact(4) {
                        peak = peak.max(f32::from_le_bytes([s[0], s[1], s[2], s[3]]).abs());
                    }
                }
            }
        }
        assert!(samples + i64::from(info.initial_padding) >= total, "{name}: {samples} samples of {total}");
        assert!(peak == 0.0 || (0.2..0.35).contains(&peak), "{name}: peak {peak}");
    }
}

#[test]
fn bit_rates_are_defaults_by_channels_or_as_asked() {
    let rate = |name: &str, json: &str, layout: &str| {
        wanted(name, &spec(json), &source(48_000, layout)).unwrap().bitrate
    };
    assert_eq!(rate("aac", "{}", "stereo"), Some(128_000));
    assert_eq!(rate("aac", "{}", "5.1(side)"), Some(384_000));
    assert_eq!(rate("ac3", "{}", "5.1(side)"), Some(448_000));
    assert_eq!(rate("libmp3lame", r#"{"bitrate":"256k"}"#, "stereo"), Some(256_000));
    assert_eq!(rate("flac", "{}", "stereo"), None);
    for (name, json) in [("flac", r#"{"bitrate":"1M"}"#), ("pcm_s16le", r#"{"bitrate":"1M"}"#)] {
        let e = wanted(name, &spec(json), &source(48_000, "stereo")).unwrap_err();
        assert!(e.message().starts_with("audio.bitrate: "), "{e}");
    }
    for json in [r#"{"bitrate":"1M"}"#, r#"{"bitrate":100}"#] {
        let e = wanted("libopus", &spec(json), &source(48_000, "mono")).unwrap_err();
        assert_eq!(e.kind(), crate::ErrorKind::Invalid);
        assert!(e.message().starts_with("audio.bitrate: libopus does not take 1"), "{e}");
    }
    let (low, ..) = encode("aac", r#"{"bitrate":"64k"}"#, 48_000, 96_000);
    let bits = low.iter().map(|p| p.data.len()).sum::<usize>() * 8 / 2;
    assert!((40_000..80_000).contains(&bits), "{bits} bit/s of 64k");
}

#[test]
fn rates_and_layouts_follow_the_source_as_closely_as_the_codec_can() {
    let target = |name: &str, json: &str, rate, layout: &str| {
        let w = wanted(name, &spec(json), &source(rate, layout)).unwrap();
        (w.params.sample_rate, w.params.layout.name)
    };
    assert_eq!(target("libopus", "{}", 44_100, "stereo"), (48_000, "stereo".into()));
    assert_eq!(target("aac", "{}", 44_100, "5.1(side)"), (44_100, "5.1".into()));
    assert_eq!(target("libmp3lame", "{}", 48_000, "5.1"), (48_000, "stereo".into()));
    assert_eq!(target("libmp3lame", "{}", 96_000, "mono"), (48_000, "mono".into()));
    assert_eq!(
        target("aac", r#"{"channels":1,"sample_rate":22050}"#, 48_000, "stereo"),
        (22_050, "mono".into())
    );
    assert_eq!(target("pcm_s16le", "{}", 192_000, "7.1"), (192_000, "7.1".into()));
    assert_eq!(target("libopus", "{}", 48_000, "5.1(side)"), (48_000, "5.1".into()));
    for (name, json, field) in [
        ("libmp3lame", r#"{"channels":6}"#, "audio.channels: "),
        ("libopus", r#"{"sample_rate":44100}"#, "audio.sample_rate: "),
        ("libopus", r#"{"codec":"aac"}"#, "audio.encoder: "),
        ("nope", "{}", "audio.encoder: "),
        ("aac", r#"{"options":{"nope":"1"}}"#, "audio.options.nope: "),
    ] {
        let e = wanted(name, &spec(json), &source(48_000, "stereo")).unwrap_err();
        assert!(e.message().starts_with(field), "{name} {json}: {e}");
    }
}

#[test]
fn lossless_sound_keeps_its_depth() {
    let format = |name: &str, format| {
        let source = AudioInfo { format: Some(format), ..source(48_000, "stereo") };
        wanted(name, &spec("{}"), &source).unwrap().params.format
    };
    assert_eq!(format("flac", SampleFormat::S16), SampleFormat::S16);
    assert_eq!(format("flac", SampleFormat::S32), SampleFormat::S32);
    assert_eq!(format("pcm_s24le", SampleFormat::S16), SampleFormat::S32);
    assert_eq!(format("libopus", SampleFormat::S16), SampleFormat::F32);
}

#[test]
fn a_rounded_time_opens_no_gap() {
    let spec = spec("{}");
    let wanted = wanted("pcm_s16le", &spec, &source(48_000, "mono")).unwrap();
    let mut encoder = AudioEncoder::new("pcm_s16le", &spec, wanted.clone()).unwrap();
    let mut packets = Vec::new();
    for (n, off) in [0, 1, -1, 0, 500].into_iter().enumerate() {
        let mut frame = tone(&wanted, n as i64 * 1024, 1024);
        frame.pts = Some(n as i64 * 1024 + off);
        encoder.push(frame, &mut packets).unwrap();
    }
    encoder.finish(&mut packets).unwrap();
    let times: Vec<i64> = packets.iter().filter_map(|p| p.pts).collect();
    assert_eq!(times, [0, 1024, 2048, 3072, 4596], "a real gap stays a gap");
}
