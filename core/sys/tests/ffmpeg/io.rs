//! I/O through Rust objects: errors, panics, one-way streams, interruption.

use crate::media::*;
use ghoststream_sys::ffmpeg::*;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

struct OneWay<T>(T);

impl<T: Read> Read for OneWay<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(1000);
        self.0.read(&mut buf[..len])
    }
}

/// Fails after some bytes: with an error, or by panicking.
struct Failing {
    inner: Cursor<Vec<u8>>,
    left: usize,
    panic: bool,
}

impl Failing {
    fn spend(&mut self, n: usize) -> io::Result<()> {
        if n > self.left {
            assert!(!self.panic, "told to");
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the cable was cut"));
        }
        self.left -= n;
        Ok(())
    }
}

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(4096);
        self.spend(len)?;
        self.inner.read(&mut buf[..len])
    }
}

impl Write for Failing {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.spend(buf.len())?;
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

#[test]
fn a_one_way_stream_is_read_to_its_end() {
    let mut demuxer = Demuxer::open(DemuxerOptions {
        io: Some(Input::Stream(Box::new(OneWay(Cursor::new(mp4(20)))))),
        ..Default::default()
    })
    .unwrap();
    assert!(!demuxer.is_seekable());
    assert_eq!(decode(&mut demuxer, &DecoderOptions::default()).len(), 20);
}

fn read_until_error(panic: bool) -> Error {
    let bytes = mp4(50);
    let left = bytes.len() - 6000;
    assert!(left > 4096, "the clip is too small for this test: {}", bytes.len());
    let io = Failing { inner: Cursor::new(bytes), left, panic };
    let opened = Demuxer::open(DemuxerOptions {
        io: Some(Input::Stream(Box::new(io))),
        find_stream_info: false,
        ..Default::default()
    });
    let mut demuxer = match opened {
        Ok(demuxer) => demuxer,
        Err(e) => return e,
    };
    loop {
        match demuxer.read() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a broken stream looks like the end"),
            Err(e) => return e,
        }
    }
}

#[test]
fn a_read_error_is_no_end_of_file_and_keeps_its_text() {
    let e = read_until_error(false);
    assert_eq!(e.kind(), Kind::Io, "{e}");
    assert!(e.to_string().contains("the cable was cut"), "{e}");
}

#[test]
fn a_panicking_reader_is_an_error() {
    let e = read_until_error(true);
    assert_eq!(e.kind(), Kind::Io, "{e}");
    assert!(e.to_string().contains("panicked"), "{e}");
}

#[test]
fn a_write_error_is_reported_with_its_text() {
    let mut encoder = Encoder::open(&x264()).unwrap();
    let packets = encode(&mut encoder, 30);
    let io = Failing { inner: Cursor::new(Vec::new()), left: 2000, panic: false };
    let mut muxer = Muxer::create(MuxerOptions {
        format: Some("mpegts".into()),
        io: Some(Output::Stream(Box::new(io))),
        ..Default::default()
    })
    .unwrap();
    let options = StreamOptions { time_base: (1, 25), ..Default::default() };
    muxer.add_stream(&encoder.parameters().unwrap(), &options).unwrap();
    let run = |muxer: &mut Muxer| -> Result<()> {
        muxer.write_header(&[])?;
        let base = muxer.stream_time_base(0)?;
        for mut p in packets {
            p.rescale((1, 25), base);
            muxer.write(p)?;
            muxer.flush()?;
        }
        muxer.write_trailer()
    };
    let e = run(&mut muxer).unwrap_err();
    assert_eq!(e.kind(), Kind::Io, "{e}");
    assert!(e.to_string().contains("the cable was cut"), "{e}");
}

#[test]
fn calls_out_of_order_are_refused() {
    let mut muxer = Muxer::create(MuxerOptions {
        format: Some("mp4".into()),
        io: Some(Output::Seekable(Box::new(Shared::default()))),
        ..Default::default()
    })
    .unwrap();
    assert!(muxer.flags().global_header);
    assert_eq!(muxer.write(Packet::new().unwrap()).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(muxer.write_trailer().unwrap_err().kind(), Kind::Invalid);
    let encoder = Encoder::open(&x264()).unwrap();
    let params = encoder.parameters().unwrap();
    muxer.add_stream(&params, &StreamOptions { time_base: (1, 25), ..Default::default() }).unwrap();
    muxer.write_header(&[]).unwrap();
    assert_eq!(muxer.add_stream(&params, &StreamOptions::default()).unwrap_err().kind(), Kind::Invalid);
    let mut stray = Packet::from_bytes_padded(&[1; 8]).unwrap();
    stray.set_stream_index(5);
    assert_eq!(muxer.write(stray).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(query_codec("mp4", "h264"), Some(true));
    assert_eq!(query_codec("webm", "h264"), Some(false));
    assert_eq!(default_codec("webm", MediaType::Audio).as_deref(), Some("opus"));
}

/// Opens a connection to a server that accepts and never answers.
fn silent(interrupt: Interrupt) -> (Kind, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/live.ts", listener.local_addr().unwrap());
    let start = Instant::now();
    let e = Demuxer::open(DemuxerOptions { url, interrupt, ..Default::default() }).unwrap_err();
    (e.kind(), start.elapsed())
}

#[test]
fn cancelling_ends_a_blocked_open() {
    let interrupt = Interrupt::new();
    let handle = interrupt.clone();
    let canceller = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        handle.cancel();
    });
    let (kind, took) = silent(interrupt);
    canceller.join().unwrap();
    assert_eq!(kind, Kind::Cancelled);
    assert!((Duration::from_millis(200)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

#[test]
fn a_timeout_ends_a_blocked_open() {
    let interrupt = Interrupt::new();
    interrupt.set_timeout(Some(Duration::from_millis(300)));
    let (kind, took) = silent(interrupt);
    assert_eq!(kind, Kind::TimedOut);
    assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&took), "{took:?}");
}

/// Remembers the longest read that it was asked for.
struct Asked(Cursor<Vec<u8>>, Arc<AtomicUsize>);

impl Read for Asked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1.fetch_max(buffer.len(), Ordering::Relaxed);
        self.0.read(buffer)
    }
}

#[test]
fn a_header_that_claims_much_costs_little() {
    // An `ftyp` box that says that it is 771 MB long, of which 20 bytes are there.
    let mut data = vec![0x2e, 0, 0, 0x20];
    data.extend_from_slice(b"ftypisom\0\0\x02\0isomav01");
    let longest = Arc::new(AtomicUsize::new(0));
    let reader = Asked(Cursor::new(data), longest.clone());
    let options = DemuxerOptions {
        io: Some(Input::Stream(Box::new(reader))),
        format: Some("mov".into()),
        ..Default::default()
    };
    assert!(Demuxer::open(options).is_err());
    let longest = longest.load(Ordering::Relaxed);
    assert!(longest > 0 && longest <= 1 << 20, "{longest} bytes were asked for, and zeroed, at once");
}
