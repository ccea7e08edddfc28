//! One connection: a muxer of FFmpeg's whose bytes go to a URL of FFmpeg's, or over our own SRT socket.

use super::flv::{self, Flv};
use super::srt::{SrtWriter, open_socket};
use crate::error::{Error, ErrorKind, Result};
use crate::packet::Packet;
use crate::sink::TrackHeader;
use crate::sink::muxed::{muxer_name, track_options};
use crate::spec::{Container, SrtAddress, is_encrypted};
use crate::time::{Rational, Rounding, TimeBase, rescale};
use ghoststream_sys::ffmpeg as av;
use ghoststream_sys::srt;
use ghoststream_sys::tcp::{self, Mark};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// What is sent, and where.
pub(super) struct Target {
    /// The address, with its key.
    pub url: String,
    pub srt: Option<SrtAddress>,
    pub container: Container,
    /// The muxer's options from the document.
    pub options: BTreeMap<String, String>,
    pub metadata: Vec<(String, String)>,
    pub tracks: Vec<TrackHeader>,
    pub timeout: Duration,
    /// Bytes that the system's own buffer takes: what is in there cannot be dropped any more.
    pub send_buffer: usize,
    /// Who must have signed the peer's certificate; `None`: anybody will do.
    pub trust: Option<Trust>,
}

/// Whose signatures of certificates are believed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trust {
    /// Those whom the system believes.
    System,
    /// Those in this file.
    File(String),
}

/// Where systems keep the certificates of those whom they believe: some builds of FFmpeg do not look there.
const SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Trust {
    /// The file for FFmpeg; `None`: it finds them itself.
    fn file(&self) -> Option<String> {
        let named = || std::env::var("SSL_CERT_FILE").ok().filter(|path| !path.is_empty());
        let usual =
            || SYSTEM.iter().find(|path| std::path::Path::new(path).is_file()).map(|p| (*p).to_owned());
        match self {
            Trust::System => named().or_else(usual),
            Trust::File(path) => Some(path.clone()),
        }
    }
}

/// What packets go through on their way to bytes.
enum Wire {
    /// FFmpeg's muxer.
    Muxer(av::Muxer),
    /// Tags of our own, which FFmpeg's muxer of data hands on as they are.
    Flv(Flv, av::Muxer),
}

impl Wire {
    fn muxer(&mut self) -> &mut av::Muxer {
        match self {
            Wire::Muxer(muxer) | Wire::Flv(_, muxer) => muxer,
        }
    }

    fn write(&mut self, index: usize, packet: &Packet) -> Result<()> {
        match self {
            Wire::Muxer(muxer) => Ok(muxer.write(packet.to_av(false)?)?),
            Wire::Flv(flv, muxer) => {
                let mut bytes = Vec::new();
                flv.write(index, packet, &mut bytes)?;
                put(muxer, bytes)
            }
        }
    }

    fn finish(mut self) -> Result<()> {
        if let Wire::Flv(flv, muxer) = &mut self {
            let mut bytes = Vec::new();
            flv.finish(&mut bytes);
            put(muxer, bytes)?;
        }
        match self {
            Wire::Muxer(mut muxer) | Wire::Flv(_, mut muxer) => {
                muxer.write_trailer()?;
                Ok(muxer.close()?)
            }
        }
    }
}

/// Sends bytes as they are.
fn put(muxer: &mut av::Muxer, bytes: Vec<u8>) -> Result<()> {
    let packet = Packet::new(bytes.into(), 0, 0, flv::MS);
    muxer.write(packet.to_av(false)?)?;
    Ok(muxer.flush()?)
}

/// What a link says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Link {
    /// Media in the network's own buffer beyond what is on its way.
    pub delay: Duration,
    /// How long a round trip takes.
    pub rtt: Option<Duration>,
    /// SRT's counts.
    pub srt: Option<srt::Stats>,
}

/// A track's clock on this connection.
struct Track {
    base: TimeBase,
    last: Option<i64>,
}

/// A connection that is open, with its header written.
pub(super) struct Connection {
    /// `None` once it has said goodbye.
    wire: Option<Wire>,
    tracks: Vec<Track>,
    interrupt: av::Interrupt,
    socket: Option<Arc<srt::Socket>>,
    /// Where it goes over TCP, and the system tells of it.
    tcp: Option<tcp::Connection>,
    timeout: Duration,
    /// Whether each packet is to leave at once.
    flush: bool,
    /// Bytes that the system's own buffer takes.
    send_buffer: usize,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Closing would say goodbye first, to a peer that may not listen.
        self.interrupt.cancel();
    }
}

/// Where a muxer's bytes go.
enum Way {
    Url(String),
    Bytes(Box<dyn Write + Send>),
}

impl Target {
    /// Whether a header can be made of the tracks: what is wrong with them is wrong for every connection.
    ///
    /// # Errors
    /// As for files; `Invalid` for options that nobody takes.
    pub fn check(&self) -> Result<()> {
        let unused = self.open(Way::Bytes(Box::new(std::io::sink())), &av::Interrupt::new(), None)?.1;
        match unused.iter().find(|(key, _)| self.options.contains_key(key)) {
            Some((key, _)) => Err(Error::invalid(
                format!("options.{key}"),
                format!("{} takes no such option", self.container.name()),
            )),
            None => Ok(()),
        }
    }

    /// Connects and writes the header. `stop` is asked now and then whether to give up; `interrupt` ends what blocks.
    ///
    /// # Errors
    /// Without the address: `Io`, `Denied`, `NotFound`, `Cancelled`, `Unsupported` where there is no libsrt.
    pub fn connect(&self, interrupt: av::Interrupt, stop: &dyn Fn() -> bool) -> Result<Connection> {
        interrupt.set_timeout(Some(self.timeout));
        let (way, socket) = match &self.srt {
            Some(address) => {
                let socket = Arc::new(open_socket(address, self.timeout, stop)?);
                (Way::Bytes(Box::new(SrtWriter::new(socket.clone(), self.timeout))), Some(socket))
            }
            None => (Way::Url(self.url.clone()), None),
        };
        let mark = is_over_tcp(&self.url).then(Mark::next);
        let ((mut wire, tracks), _) = self.open(way, &interrupt, mark)?;
        let tcp = mark.and_then(Mark::find);
        if mark.is_some() {
            self.limit_silence(tcp);
        }
        let flush = socket.is_some();
        if flush {
            wire.muxer().flush()?;
        }
        Ok(Connection {
            wire: Some(wire),
            tracks,
            interrupt,
            socket,
            tcp,
            timeout: self.timeout,
            flush,
            send_buffer: self.send_buffer,
        })
    }

    /// Why there is no connection. FFmpeg's own text has the whole address, stream key included.
    fn not_connected(&self, e: &av::Error) -> Error {
        let mut message = format!("cannot connect: {}", e.message());
        // It says no more of a certificate that it does not believe.
        if e.kind() == av::Kind::Io && self.trust.is_some() && is_encrypted(&self.url) {
            message += ", which is also how a certificate ends that is not the server's own, or not signed by somebody who is \
                        believed (tls_verify, ca_file)";
        }
        Error::new(Error::from(e.clone()).kind(), message)
    }

    /// TCP itself says nothing of a dead link until its buffer is full, which takes as long as the bit rate is low.
    fn limit_silence(&self, connection: Option<tcp::Connection>) {
        let why = match connection.map(|c| c.limit_silence(self.timeout)) {
            Some(Ok(())) => return,
            Some(Err(e)) => e.to_string(),
            None => "the system does not tell which connection it is".to_owned(),
        };
        tracing::warn!(why, "push: a link that is dead is noticed late where the bit rate is low");
    }

    /// `mark`: with what a connection of TCP is marked.
    #[allow(clippy::type_complexity)]
    fn open(
        &self,
        way: Way,
        interrupt: &av::Interrupt,
        mark: Option<Mark>,
    ) -> Result<((Wire, Vec<Track>), Vec<(String, String)>)> {
        let (url, io) = match way {
            Way::Url(url) => (url, None),
            Way::Bytes(writer) => (String::new(), Some(av::Output::Stream(writer))),
        };
        let mut io_options = Vec::new();
        if let Some(mark) = mark {
            io_options.push(("recv_buffer_size".into(), mark.receive_buffer().to_string()));
        }
        if url.starts_with("rtmp") {
            io_options.push(("send_buffer_size".into(), self.send_buffer.to_string()));
            io_options.push(("tcp_nodelay".into(), "1".into()));
        }
        if is_encrypted(&url) {
            io_options.push(("tls_verify".into(), i32::from(self.trust.is_some()).to_string()));
            io_options.extend(self.trust.as_ref().and_then(Trust::file).map(|path| ("ca_file".into(), path)));
        }
        if self.container == Container::Flv && flv::is_needed(&self.tracks) {
            return self.open_flv(url, io, interrupt, io_options).map(|opened| (opened, Vec::new()));
        }
        let mut muxer = av::Muxer::create(av::MuxerOptions {
            format: Some(muxer_name(self.container, &self.tracks)?),
            url,
            io,
            interrupt: interrupt.clone(),
            io_options,
        })
        .map_err(|e| self.not_connected(&e))?;
        for track in &self.tracks {
            let (parameters, options) = track_options(self.container, track)?;
            muxer.add_stream(&parameters, &options).map_err(|e| Error::from(e).context(&track.name))?;
        }
        muxer.set_metadata(&self.metadata)?;
        let mut options: Vec<(String, String)> = Vec::new();
        match self.container {
            Container::Flv => options.push(("flvflags".into(), "+no_duration_filesize".into())),
            // A receiver that comes late must not wait for the tables.
            Container::Ts => options.push(("mpegts_flags".into(), "+pat_pmt_at_frames".into())),
            _ => {}
        }
        for (key, value) in &self.options {
            options.retain(|(k, _)| k != key);
            options.push((key.clone(), value.clone()));
        }
        let unused = muxer.write_header(&options).map_err(|e| {
            let codecs: Vec<_> = self.tracks.iter().map(|t| t.stream.codec.name().to_string()).collect();
            Error::from(e).context(format!("{} of {}", self.container.name(), codecs.join(" + ")))
        })?;
        let tracks = (0..self.tracks.len())
            .map(|i| {
                let (num, den) = muxer.stream_time_base(i)?;
                Ok(Track { base: Rational::new(num, den), last: None })
            })
            .collect::<Result<_>>()?;
        Ok(((Wire::Muxer(muxer), tracks), unused))
    }

    /// For tags of our own.
    fn open_flv(
        &self,
        url: String,
        io: Option<av::Output>,
        interrupt: &av::Interrupt,
        io_options: Vec<(String, String)>,
    ) -> Result<(Wire, Vec<Track>)> {
        if let Some(key) = self.options.keys().next() {
            let message =
                "flv with HEVC, AV1, VP9 or Opus is written by GhostStream, which has no such option";
            return Err(Error::invalid(format!("options.{key}"), message));
        }
        let (flv, begin) = Flv::new(&self.tracks)?;
        let mut muxer = av::Muxer::create(av::MuxerOptions {
            format: Some("data".into()),
            url,
            io,
            interrupt: interrupt.clone(),
            io_options,
        })
        .map_err(|e| self.not_connected(&e))?;
        if let Some(track) = self.tracks.first() {
            let (parameters, options) = track_options(self.container, track)?;
            let options = av::StreamOptions { time_base: (flv::MS.num, flv::MS.den), ..options };
            muxer.add_stream(&parameters, &options)?;
        }
        muxer.write_header(&[])?;
        put(&mut muxer, begin)?;
        let tracks = self.tracks.iter().map(|t| Track { base: t.stream.time_base, last: None }).collect();
        Ok((Wire::Flv(flv, muxer), tracks))
    }
}

impl Connection {
    /// Sends a packet of `track`.
    ///
    /// # Errors
    /// What sending fails with; the connection is over then.
    pub fn write(&mut self, index: usize, packet: Packet) -> Result<()> {
        let (Some(wire), Some(track)) = (&mut self.wire, self.tracks.get_mut(index)) else {
            return Err(Error::new(ErrorKind::Internal, "a packet of no track"));
        };
        let mut packet = Packet { stream: index, ..packet };
        let to = |t: i64| rescale(t, packet.base, track.base, Rounding::Nearest);
        let (mut dts, mut pts) = (packet.dts.map(to), packet.pts.map(to));
        // Rounding to the container's base can make two times equal; muxers want rising ones.
        if let (Some(now), Some(last)) = (dts, track.last)
            && now <= last
        {
            dts = Some(last + 1);
            pts = pts.map(|p| p.max(last + 1));
        }
        track.last = dts.or(track.last);
        packet.duration = to(packet.duration);
        (packet.pts, packet.dts, packet.base) = (pts, dts, track.base);
        wire.write(index, &packet)?;
        if self.flush {
            wire.muxer().flush()?;
        }
        Ok(())
    }

    /// Whether the network's own buffer takes more now. What it has cannot be dropped any more, so that only little is
    /// put there.
    pub fn has_room(&self) -> bool {
        let Some(stats) = self.socket.as_ref().and_then(|s| s.stats().ok()) else { return true };
        stats.waiting.1 <= most_in_flight(&stats)
    }

    /// What the link says of itself.
    pub fn link(&self) -> Link {
        let Some(stats) = self.socket.as_ref().and_then(|s| s.stats().ok()) else {
            return Link { rtt: self.tcp.and_then(tcp::Connection::round_trip), ..Link::default() };
        };
        // What waits for its acknowledgement waits for a round trip at least.
        let delay = stats.waiting.1.saturating_sub(stats.rtt + Duration::from_millis(50));
        Link { delay, rtt: Some(stats.rtt), srt: Some(stats) }
    }

    /// Whether the peer is still there, as far as can be known without sending.
    pub fn is_alive(&self) -> bool {
        self.socket.as_ref().is_none_or(|s| s.is_connected())
    }

    /// How long the system's own buffer may need to empty, at `rate` bits per second; 0 = it is empty.
    pub fn linger(&self, rate: u64) -> Duration {
        if rate == 0 || self.socket.is_some() {
            return Duration::ZERO;
        }
        // Linux takes twice as much as it is told.
        Duration::from_secs_f64((self.send_buffer as f64 * 16.0 / rate as f64).min(3.0))
    }

    /// Ends the stream in good order.
    ///
    /// # Errors
    /// As [`Connection::write`].
    pub fn finish(mut self) -> Result<()> {
        let Some(wire) = self.wire.take() else { return Ok(()) };
        wire.finish()?;
        if let Some(socket) = &self.socket {
            if !socket.drain(self.timeout) {
                return Err(Error::new(ErrorKind::Io, "the connection broke before all was received"));
            }
            // A live receiver hands out what it got only when its latency is over.
            if let Ok(stats) = socket.stats() {
                std::thread::sleep(stats.latency.min(Duration::from_secs(2)));
            }
        }
        Ok(())
    }
}

/// Whether FFmpeg makes a connection of TCP for this address.
fn is_over_tcp(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
    scheme.starts_with("rtmp") || matches!(scheme.as_str(), "tcp" | "tls" | "http" | "https" | "icecast")
}

/// The time that packets in SRT's own buffer may span. It forgets what is older than a second, or than the latency and
/// some, whatever it was: before that, it is ours to choose.
fn most_in_flight(stats: &srt::Stats) -> Duration {
    let usual = stats.latency.max(stats.rtt * 4).max(Duration::from_millis(300));
    usual.min(stats.latency.max(Duration::from_millis(700)))
}
