//! An encoder that breaks, and what goes on after it.

use super::*;
use crate::encode::failover::{Failover, Substitute};
use crate::error::{Error, ErrorKind, Result};
use crate::stage::{Control, Outlet};
use std::sync::{Arc, Mutex};

/// x264 that fails at a frame, and then gives what was inside or not.
struct Breaks {
    encoder: VideoEncoder,
    at: usize,
    pushed: usize,
    drains: bool,
    kind: ErrorKind,
}

impl Stage<Frame, Packet> for Breaks {
    fn push(&mut self, frame: Frame, out: &mut dyn Outlet<Packet>) -> Result<()> {
        self.pushed += 1;
        if self.pushed > self.at {
            return Err(Error::new(self.kind, "the device is gone"));
        }
        self.encoder.push(frame, out)
    }

    fn control(&mut self, control: &Control) -> Result<()> {
        self.encoder.control(control)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Packet>) -> Result<()> {
        if self.drains { self.encoder.finish(out) } else { Err(Error::new(self.kind, "nothing comes out")) }
    }
}

impl Encoder for Breaks {
    fn stream(&self) -> Option<&StreamInfo> {
        self.encoder.stream()
    }

    fn description(&self) -> String {
        "breaks".into()
    }
}

struct Told {
    encoded: Encoded,
    lost: Vec<usize>,
}

fn after(clip: &Clip, at: usize, drains: bool, first: &str) -> Result<Told> {
    asked_after(clip, at, drains, first, usize::MAX)
}

/// The same, where somebody asks what the stream is after frame `asks`.
fn asked_after(clip: &Clip, at: usize, drains: bool, first: &str, asks: usize) -> Result<Told> {
    let with = |json: &str| {
        VideoEncoder::new(VideoEncode { frame_rate: Some(rate_of(clip)), ..config("libx264", json) }).unwrap()
    };
    let broken = Breaks { encoder: with(first), at, pushed: 0, drains, kind: ErrorKind::Device };
    let lost = Arc::new(Mutex::new(Vec::new()));
    let told = lost.clone();
    let second = with(r#"{"crf":20,"b_frames":0}"#);
    let mut second = Some(second);
    let successor = Box::new(move |e: &Error, n: usize| {
        told.lock().unwrap().push(n);
        let encoder = second.take().ok_or_else(|| e.clone())?;
        Ok(Substitute { encoder: Box::new(encoder), format: PixelFormat::yuv420p() })
    });
    let mut encoder = Failover::new(Box::new(broken), successor, false);
    let mut packets = Vec::new();
    let mut announced = None;
    for (n, frame) in clip.frames().enumerate() {
        encoder.push(frame, &mut packets)?;
        if n == asks {
            announced = encoder.stream().cloned();
        }
    }
    encoder.finish(&mut packets)?;
    let stream = announced.or_else(|| encoder.stream().cloned()).unwrap();
    let lost = lost.lock().unwrap().clone();
    Ok(Told { encoded: Encoded { packets, stream }, lost })
}

/// Decode times rise and are not above presentation times.
fn times_are_sound(packets: &[Packet]) {
    for pair in packets.windows(2) {
        assert!(pair[0].dts < pair[1].dts, "{:?} then {:?}", pair[0].dts, pair[1].dts);
    }
    assert!(packets.iter().all(|p| p.dts <= p.pts));
}

#[test]
fn what_was_inside_is_encoded_again_and_the_picture_goes_on() {
    // Without B-frames nothing that is out is shown after what is inside.
    let clip = Clip::constant(40, 25, 1);
    for (at, drains) in [(0, true), (1, false), (17, false), (17, true), (39, false)] {
        let done = after(&clip, at, drains, r#"{"crf":20,"b_frames":0,"lookahead":6}"#).unwrap();
        let mut shown: Vec<i64> = done.encoded.packets.iter().filter_map(|p| p.pts).collect();
        times_are_sound(&done.encoded.packets);
        shown.sort_unstable();
        assert_eq!(shown, (0..40).collect::<Vec<_>>(), "failed at {at}");
        assert_eq!(done.lost, [0]);
        let decoded = done.encoded.decode();
        assert_eq!(decoded.len(), 40);
        assert!(psnr(&clip, &decoded) > 30.0, "failed at {at}");
    }
}

#[test]
fn a_stream_that_was_announced_before_the_first_packet_stays_what_it_was() {
    // Its headers went into the file's; packets of another encoder carry their own then.
    let clip = Clip::constant(40, 25, 1);
    let json = r#"{"crf":20,"b_frames":0,"lookahead":20,"profile":"main"}"#;
    let done = asked_after(&clip, 6, false, json, 3).unwrap();
    assert_eq!(done.encoded.packets.len(), 40);
    let decoded = done.encoded.decode();
    assert_eq!(decoded.len(), 40);
    assert!(psnr(&clip, &decoded) > 30.0);
}

#[test]
fn frames_that_cannot_be_put_back_are_counted() {
    let clip = Clip::constant(60, 25, 1);
    let json =
        r#"{"crf":20,"b_frames":3,"lookahead":4,"options":{"x264-params":"b-adapt=0:sync-lookahead=0"}}"#;
    let done = after(&clip, 30, false, json).unwrap();
    times_are_sound(&done.encoded.packets);
    let lost: usize = done.lost.iter().sum();
    assert_eq!(done.encoded.packets.len() + lost, 60);
    assert!(lost <= 3, "{lost}");
    assert_eq!(done.encoded.decode().len() + lost, 60);
}

/// Frames at 25 a second, and from 2 s on at 60 or 12.5, as a chain that was told another rate gives them.
#[test]
fn frames_that_come_at_another_rate_keep_their_times() {
    for (num, den) in [(60, 1), (25, 2)] {
        let (slow, quick) = (Clip::constant(50, 25, 1), Clip::constant(200, num, den));
        let begin = 2 * i64::from(num) / i64::from(den);
        let frames: Vec<Frame> = slow
            .frames()
            .chain((begin..begin + 30).map(|n| {
                let mut frame = quick.frame(n as usize);
                (frame.pts, frame.duration, frame.base) = (Some(n), 1, Rational::new(den, num));
                frame
            }))
            .collect();
        let wanted: Vec<f64> = frames.iter().map(|f| f.presentation().unwrap().seconds()).collect();
        for at in [60, 20, usize::MAX] {
            let with = || {
                let config = config("libx264", r#"{"crf":30,"b_frames":0}"#);
                VideoEncoder::new(VideoEncode { fine: true, ..config }).unwrap()
            };
            let broken = Breaks { encoder: with(), at, pushed: 0, drains: false, kind: ErrorKind::Device };
            let successor = Box::new(move |_: &Error, lost: usize| {
                assert_eq!(lost, 0);
                Ok(Substitute { encoder: Box::new(with()), format: PixelFormat::yuv420p() })
            });
            let mut encoder = Failover::new(Box::new(broken), successor, true);
            let mut packets = Vec::new();
            frames.iter().for_each(|f| encoder.push(f.clone(), &mut packets).unwrap());
            encoder.finish(&mut packets).unwrap();
            times_are_sound(&packets);
            let base = encoder.stream().unwrap().time_base;
            assert!(base.as_f64() <= 1.0 / 90_000.0 && packets.iter().all(|p| p.base == base), "{base}");
            let mut shown: Vec<f64> = packets.iter().map(|p| p.presentation().unwrap().seconds()).collect();
            shown.sort_by(f64::total_cmp);
            assert_eq!(shown.len(), wanted.len(), "{num}/{den}, failed at {at}");
            let off = shown.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-4, "{num}/{den}, failed at {at}: {shown:?}");
        }
    }
}

#[test]
fn what_was_changed_holds_for_the_encoder_that_goes_on() {
    let clip = Clip::constant(150, 25, 1).noise();
    let with = || {
        let json = r#"{"bitrate":"2M","max_bitrate":"2M","b_frames":0,"gop":1000}"#;
        let config = VideoEncode { frame_rate: Some(rate_of(&clip)), ..config("libx264", json) };
        VideoEncoder::new(config).unwrap()
    };
    let broken = Breaks { encoder: with(), at: 50, pushed: 0, drains: true, kind: ErrorKind::Device };
    let mut second = Some(with());
    let successor = Box::new(move |e: &Error, _: usize| {
        let encoder = second.take().ok_or_else(|| e.clone())?;
        Ok(Substitute { encoder: Box::new(encoder), format: PixelFormat::yuv420p() })
    });
    let mut encoder = Failover::new(Box::new(broken), successor, false);
    let mut packets = Vec::new();
    for (n, frame) in clip.frames().enumerate() {
        if n == 25 {
            for target in [1_000_000, 300_000] {
                encoder.control(&Control::Bitrate { target, max: None }).unwrap();
            }
        }
        encoder.push(frame, &mut packets).unwrap();
    }
    encoder.finish(&mut packets).unwrap();
    let late: usize = packets.iter().filter(|p| p.pts >= Some(75)).map(|p| p.data.len()).sum();
    let rate = late as f64 * 8.0 / 3.0;
    assert!((200_000.0..450_000.0).contains(&rate), "{rate}");
}

#[test]
fn what_no_other_encoder_mends_is_an_error() {
    let clip = Clip::constant(5, 25, 1);
    let mut encoder = Failover::new(
        Box::new(Breaks {
            encoder: VideoEncoder::new(config("libx264", "{}")).unwrap(),
            at: 2,
            pushed: 0,
            drains: true,
            kind: ErrorKind::Invalid,
        }),
        Box::new(|_, _| panic!("must not be asked")),
        false,
    );
    let mut result = Ok(());
    for frame in clip.frames() {
        result = result.and_then(|()| encoder.push(frame, &mut Vec::new()));
    }
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
}
