//! Small clips made in memory, shared by the integration tests.

use ghoststream_sys::ffmpeg::*;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex};

/// A file in memory that can be looked at while a muxer owns it.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<Mutex<Cursor<Vec<u8>>>>);

impl Shared {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().get_ref().clone()
    }
}

impl Write for Shared {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.0.lock().unwrap().seek(to)
    }
}

pub fn pairs(list: &[(&str, &str)]) -> Pairs {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub fn x264() -> EncoderOptions<'static> {
    EncoderOptions {
        name: "libx264".into(),
        width: 320,
        height: 180,
        pixel_format: PixelFormat::yuv420p(),
        time_base: (1, 25),
        frame_rate: Some((25, 1)),
        sample_aspect: Some((1, 1)),
        colour: Colour::BT709,
        threads: 1,
        gop: Some(25),
        global_header: true,
        options: pairs(&[("preset", "ultrafast"), ("forced-idr", "1")]),
        ..Default::default()
    }
}

/// A picture whose brightness tells its number.
pub fn picture(n: usize) -> Frame {
    let mut frame = Frame::alloc_video(PixelFormat::yuv420p(), 320, 180, 0).unwrap();
    frame.plane_mut(0).unwrap().fill(16 + (n * 4 % 200) as u8);
    frame.plane_mut(1).unwrap().fill(128);
    frame.plane_mut(2).unwrap().fill(128);
    frame.set_pts(Some(n as i64));
    frame.set_colour(Colour::BT709);
    frame
}

/// Feeds `count` pictures, a key frame forced at 7, and collects the packets.
pub fn encode(encoder: &mut Encoder, count: usize) -> Vec<Packet> {
    let mut packets = Vec::new();
    for n in 0..=count {
        let frame = (n < count).then(|| picture(n));
        encoder.send(frame.as_ref(), n == 7).unwrap();
        while let Some(packet) = encoder.receive().unwrap() {
            packets.push(packet);
        }
    }
    packets
}

/// An MP4 of `count` pictures in memory.
pub fn mp4(count: usize) -> Vec<u8> {
    let mut encoder = Encoder::open(&x264()).unwrap();
    let packets = encode(&mut encoder, count);
    let file = Shared::default();
    let mut muxer = Muxer::create(MuxerOptions {
        format: Some("mp4".into()),
        io: Some(Output::Seekable(Box::new(file.clone()))),
        ..Default::default()
    })
    .unwrap();
    let stream = muxer
        .add_stream(
            &encoder.parameters().unwrap(),
            &StreamOptions {
                time_base: encoder.time_base(),
                frame_rate: Some((25, 1)),
                disposition: Disposition::DEFAULT,
                metadata: pairs(&[("language", "deu")]),
                ..Default::default()
            },
        )
        .unwrap();
    muxer.set_metadata(&pairs(&[("title", "counting")])).unwrap();
    muxer
        .add_chapter(&Chapter {
            id: 1,
            start: 0,
            end: 10,
            time_base: (1, 25),
            metadata: pairs(&[("title", "first")]),
        })
        .unwrap();
    let unused = muxer.write_header(&pairs(&[("moov_size", "20000"), ("nonsense", "1")])).unwrap();
    assert_eq!(unused, pairs(&[("nonsense", "1")]));
    let base = muxer.stream_time_base(stream).unwrap();
    for mut packet in packets {
        packet.rescale(encoder.time_base(), base);
        if packet.duration() == 0 {
            packet.set_duration(i64::from(base.1 / 25));
        }
        packet.set_stream_index(stream);
        muxer.write_interleaved(packet).unwrap();
    }
    muxer.write_trailer().unwrap();
    muxer.close().unwrap();
    file.bytes()
}

pub fn open(bytes: Vec<u8>) -> Result<Demuxer> {
    Demuxer::open(DemuxerOptions {
        url: "memory.mp4".into(),
        io: Some(Input::Seekable(Box::new(Cursor::new(bytes)))),
        ..Default::default()
    })
}

/// All frames that the first stream decodes to.
pub fn decode(demuxer: &mut Demuxer, options: &DecoderOptions<'_>) -> Vec<Frame> {
    let stream = demuxer.stream(0).unwrap();
    let mut decoder =
        Decoder::new(&stream.params, &DecoderOptions { time_base: stream.time_base, ..options.clone() })
            .unwrap();
    let mut frames = Vec::new();
    loop {
        let packet = demuxer.read().unwrap();
        if packet.as_ref().is_some_and(|p| p.stream_index() != 0) {
            continue;
        }
        decoder.send(packet.as_ref()).unwrap();
        while let Some(frame) = decoder.receive().unwrap() {
            frames.push(frame);
        }
        if packet.is_none() {
            return frames;
        }
    }
}
