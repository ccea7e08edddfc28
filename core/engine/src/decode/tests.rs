//! A decoder that breaks, and what goes on after it.

use super::failover::{Failover, KEPT, PictureDecoder};
use super::*;
use crate::encode::{Encoder, VideoEncode, VideoEncoder};
use crate::frame::PixelFormat;
use crate::stage::OutletFn;
use std::sync::Mutex;

const FRAMES: i64 = 50;
const GROUP: i64 = 12;

fn picture(n: i64) -> Frame {
    let mut media = av::Frame::alloc_video(PixelFormat::yuv420p(), 160, 96, 0).unwrap();
    for plane in 0..media.plane_count() {
        let stride = media.stride(plane);
        for (at, pixel) in media.plane_mut(plane).unwrap().iter_mut().enumerate() {
            *pixel = 32 + ((at % stride + at / stride + n as usize * 7 + plane * 40) % 180) as u8;
        }
    }
    media.set_pts(Some(n * 10));
    media.set_duration(10);
    Frame::new(media, Rational::new(1, 250))
}

/// Pictures in groups of [`GROUP`], coded with B-frames, so that they are not decoded as they are shown.
fn clip() -> (StreamInfo, Vec<Packet>) {
    let json =
        format!(r#"{{"encoder":"libx264","preset":"p1","crf":18,"gop":{GROUP},"b_frames":2,"threads":1}}"#);
    let spec = serde_json::from_str(&json).unwrap();
    let config = VideoEncode { frame_rate: Some(Rational::new(25, 1)), ..VideoEncode::new(spec) };
    let (mut encoder, mut packets) = (VideoEncoder::new(config).unwrap(), Vec::new());
    (0..FRAMES).for_each(|n| encoder.push(picture(n), &mut packets).unwrap());
    encoder.finish(&mut packets).unwrap();
    let stream = encoder.stream().unwrap().clone();
    assert!(packets.iter().any(|p| p.pts != p.dts) && packets.iter().filter(|p| p.key).count() > 3);
    (stream, packets)
}

fn software(stream: &StreamInfo) -> PictureDecoder {
    Box::new(AvDecoder::new(stream, &DecodeOptions { threads: 1, ..DecodeOptions::default() }).unwrap())
}

/// Decodes in software until it has been given so many packets; the one after them it takes and breaks.
struct Breaks {
    decoder: PictureDecoder,
    left: usize,
    kind: ErrorKind,
}

impl Breaks {
    fn used_up(&mut self) -> Result<()> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return Err(Error::new(self.kind, "the device is gone")),
        }
        Ok(())
    }
}

impl Stage<Packet, Frame> for Breaks {
    fn push(&mut self, packet: Packet, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.used_up()?;
        self.decoder.push(packet, out)
    }

    fn finish(&mut self, out: &mut dyn Outlet<Frame>) -> Result<()> {
        self.used_up()?;
        self.decoder.finish(out)
    }
}

/// A picture's time and pixels.
type Shown = (Option<i64>, Vec<u8>);

fn shown(frame: &Frame) -> Shown {
    let mut pixels = vec![0; frame.media().packed_size().unwrap()];
    frame.media().copy_to_packed(&mut pixels).unwrap();
    (frame.pts, pixels)
}

fn decode(decoder: &mut dyn Stage<Packet, Frame>, packets: &[Packet]) -> Result<Vec<Shown>> {
    let mut frames = Vec::new();
    for packet in packets {
        decoder.push(packet.clone(), &mut frames)?;
    }
    decoder.finish(&mut frames)?;
    Ok(frames.iter().map(shown).collect())
}

/// What comes of a decoder that breaks at packet `at`: pictures, those said to be lost, and how often another went on.
fn broken(
    stream: &StreamInfo,
    packets: &[Packet],
    at: usize,
    kept: usize,
    kind: ErrorKind,
) -> (Result<Vec<Shown>>, u64, usize) {
    let told = Arc::new(Mutex::new((0, 0)));
    let (losses, calls) = (told.clone(), told.clone());
    let first = Breaks { decoder: software(stream), left: at, kind };
    let info = stream.clone();
    let successor = Box::new(move |failure: &Error| {
        assert!(failure.to_string().contains("the device is gone"));
        calls.lock().unwrap().1 += 1;
        Ok(software(&info))
    });
    let loss = Box::new(move |n| losses.lock().unwrap().0 += n);
    let mut decoder = Failover::new(Box::new(first), kept, successor, loss);
    let done = decode(&mut decoder, packets);
    let told = told.lock().unwrap();
    (done, told.0, told.1)
}

fn pixel_error(frames: &[Shown]) -> f64 {
    let (mut error, mut count) = (0.0, 0usize);
    for (pts, pixels) in frames {
        let (_, source) = shown(&picture(pts.unwrap() / 10));
        error += source.iter().zip(pixels).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
        count += pixels.len();
    }
    10.0 * (255.0f64.powi(2) * count as f64 / error).log10()
}

#[test]
fn wherever_a_decoder_breaks_every_picture_comes_once() {
    let (stream, packets) = clip();
    let whole = decode(&mut *software(&stream), &packets).unwrap();
    let times: Vec<i64> = whole.iter().map(|(pts, _)| pts.unwrap()).collect();
    assert_eq!(times, (0..FRAMES).map(|n| n * 10).collect::<Vec<_>>());
    assert!(pixel_error(&whole) > 35.0, "{}", pixel_error(&whole));
    // Also at the end, when it is drained.
    for at in 0..=packets.len() {
        let (done, lost, calls) = broken(&stream, &packets, at, KEPT, ErrorKind::Internal);
        assert!(done.unwrap() == whole, "broken at {at}");
        assert_eq!((lost, calls), (0, 1), "broken at {at}");
    }
    let (done, _, calls) = broken(&stream, &packets, packets.len() + 1, KEPT, ErrorKind::Internal);
    assert!(done.unwrap() == whole && calls == 0);
}

#[test]
fn pictures_of_a_stream_without_times_are_counted() {
    let (stream, mut packets) = clip();
    packets.iter_mut().for_each(|p| (p.pts, p.dts) = (None, None));
    let whole = decode(&mut *software(&stream), &packets).unwrap();
    assert_eq!(whole.len() as i64, FRAMES);
    for at in 0..=packets.len() {
        let (done, lost, calls) = broken(&stream, &packets, at, KEPT, ErrorKind::Internal);
        let done = done.unwrap();
        let times = |frames: &[Shown]| frames.iter().map(|f| f.0.unwrap()).collect::<Vec<_>>();
        assert_eq!(times(&done), times(&whole), "broken at {at}");
        assert!(done == whole, "broken at {at}");
        assert_eq!((lost, calls), (0, 1), "broken at {at}");
    }
}

#[test]
fn what_is_not_kept_is_counted_and_decoding_goes_on_at_a_key_picture() {
    let (stream, packets) = clip();
    let whole = decode(&mut *software(&stream), &packets).unwrap();
    let group: usize = packets.iter().take(GROUP as usize).map(|p| p.data.len()).sum();
    for kept in [0, group / 2] {
        let mut most = 0;
        for at in 0..=packets.len() {
            let (done, lost, calls) = broken(&stream, &packets, at, kept, ErrorKind::Device);
            let done = done.unwrap();
            assert_eq!((done.len() as u64 + lost, calls), (FRAMES as u64, 1), "broken at {at}, {kept} kept");
            assert!(done.windows(2).all(|pair| pair[0].0 < pair[1].0), "broken at {at}: times rise");
            assert!(done.iter().all(|frame| whole.contains(frame)), "broken at {at}: whole pictures");
            most = most.max(lost);
        }
        assert!((1..=2 * GROUP as u64).contains(&most), "{most}");
    }
}

#[test]
fn what_is_kept_is_bounded_by_the_groups_that_are_needed() {
    // Room for two groups and not for three: all is there wherever it breaks, so groups that are out are not kept.
    let (stream, packets) = clip();
    let groups: Vec<usize> =
        packets.chunk_by(|_, next| !next.key).map(|group| group.iter().map(|p| p.data.len()).sum()).collect();
    let two = groups.windows(2).map(|pair| pair[0] + pair[1]).max().unwrap();
    assert!(two < groups.iter().sum());
    for at in 0..=packets.len() {
        let (done, lost, _) = broken(&stream, &packets, at, two, ErrorKind::Device);
        assert_eq!((done.unwrap().len() as i64, lost), (FRAMES, 0), "broken at {at}");
    }
}

#[test]
fn what_is_no_fault_of_the_decoder_stays_an_error() {
    let (stream, packets) = clip();
    for kind in [ErrorKind::Format, ErrorKind::Cancelled] {
        let (done, _, calls) = broken(&stream, &packets, 5, KEPT, kind);
        assert_eq!((done.unwrap_err().kind(), calls), (kind, 0));
    }
    // Downstream refuses a picture that is in host memory.
    let successor = Box::new(|_: &Error| -> Result<PictureDecoder> { panic!("the decoder is well") });
    let mut decoder = Failover::new(software(&stream), KEPT, successor, Box::new(|_| {}));
    let mut full = OutletFn(|_: Frame| -> Result<()> { Err(Error::new(ErrorKind::Io, "full")) });
    let refused = packets.iter().find_map(|p| decoder.push(p.clone(), &mut full).err());
    assert_eq!(refused.unwrap().kind(), ErrorKind::Io);
}

#[test]
fn the_second_failure_is_an_error() {
    let (stream, packets) = clip();
    let info = stream.clone();
    let successor = Box::new(move |_: &Error| -> Result<PictureDecoder> {
        Ok(Box::new(Breaks { decoder: software(&info), left: 3, kind: ErrorKind::Memory }))
    });
    let first = Breaks { decoder: software(&stream), left: 4, kind: ErrorKind::Device };
    let mut decoder = Failover::new(Box::new(first), KEPT, successor, Box::new(|_| {}));
    assert_eq!(decode(&mut decoder, &packets).unwrap_err().kind(), ErrorKind::Memory);
}

#[test]
fn what_is_kept_is_not_decoded_again_for_nobody() {
    let (stream, packets) = clip();
    let info = stream.clone();
    let asked = Arc::new(AtomicU64::new(0));
    let count = asked.clone();
    let first = Breaks { decoder: software(&stream), left: 8, kind: ErrorKind::Device };
    let successor = Box::new(move |_: &Error| Ok(software(&info)));
    // Cancelled when the second packet is to be decoded again.
    let given_up = Box::new(move || count.fetch_add(1, Ordering::Relaxed) == 1);
    let mut decoder = Failover::new(Box::new(first), KEPT, successor, Box::new(|_| {})).until(given_up);
    assert_eq!(decode(&mut decoder, &packets).unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn a_damaged_packet_is_counted_once_wherever_the_decoder_breaks() {
    let (stream, mut packets) = clip();
    let bad = 5;
    packets[bad].data = vec![0xff; 40].into();
    for at in 0..=packets.len() {
        let damage = Arc::<Damage>::default();
        let options = DecodeOptions { threads: 1, damage: damage.clone(), ..DecodeOptions::default() };
        let (info, again) = (stream.clone(), options.clone());
        let first: PictureDecoder = Box::new(AvDecoder::new(&stream, &options).unwrap());
        let successor = Box::new(move |_: &Error| -> Result<PictureDecoder> {
            Ok(Box::new(AvDecoder::new(&info, &again)?))
        });
        let first = Breaks { decoder: first, left: at, kind: ErrorKind::Device };
        let decoder = Failover::new(Box::new(first), KEPT, successor, Box::new(|_| {}));
        decode(&mut decoder.counting(damage.clone()), &packets).unwrap();
        assert_eq!(damage.packets.load(Ordering::Relaxed), 1, "broken at {at}");
    }
}
