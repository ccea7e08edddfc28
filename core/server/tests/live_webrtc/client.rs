//! A WebRTC client of str0m's, on a socket of its own.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::crypto::from_feature_flags;
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid, Rid, Simulcast};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::ServiceExt;

/// What a client has seen.
#[derive(Debug)]
pub enum Got {
    Connected,
    Frame(Frame),
    KeyWanted(Option<String>),
    Closed,
}

#[derive(Debug)]
pub struct Frame {
    pub video: bool,
    pub at: Instant,
    pub micros: u64,
    pub key: bool,
    pub data: Vec<u8>,
}

/// A frame that the client is to send.
pub struct Send {
    pub video: bool,
    pub layer: Option<&'static str>,
    pub ticks: u64,
    pub data: Vec<u8>,
}

pub struct Setup {
    pub direction: Direction,
    pub video: bool,
    pub audio: bool,
    pub codec: Codec,
    pub layers: &'static [&'static str],
    /// One of so many datagrams with media is lost on the way to the client; 0 = none.
    pub lose: usize,
    /// Bits per second of the way to the client, which holds back what comes faster for [`HELD`] and drops the rest; 0 = no end.
    pub narrow: Arc<AtomicU64>,
}

/// The longest that a narrow way holds anything back.
const HELD: Duration = Duration::from_millis(150);

impl Setup {
    pub fn new(direction: Direction) -> Setup {
        Setup {
            direction,
            video: true,
            audio: true,
            codec: Codec::H264,
            layers: &[],
            lose: 0,
            narrow: Arc::default(),
        }
    }
}

pub struct Client {
    pub got: mpsc::UnboundedReceiver<Got>,
    pub send: mpsc::UnboundedSender<Send>,
    pub keys: mpsc::UnboundedSender<()>,
    pub location: String,
    pub headers: HeaderMap,
    task: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A request to the router.
pub async fn ask(
    router: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, String::from_utf8_lossy(&body).into_owned())
}

/// An offer and what it needs to become a session.
pub struct Offered {
    pub rtc: Rtc,
    pub socket: UdpSocket,
    pub offer: String,
    pub pending: SdpPendingOffer,
    pub video: Option<Mid>,
    pub audio: Option<Mid>,
}

pub async fn offer(setup: &Setup) -> Offered {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let config = RtcConfig::new().set_crypto_provider(Arc::new(from_feature_flags())).clear_codecs();
    let config = match setup.codec {
        Codec::Vp8 => config.enable_vp8(true),
        Codec::Vp9 => config.enable_vp9(true),
        Codec::Av1 => config.enable_av1(true),
        Codec::H265 => config.enable_h265(true),
        _ => config.enable_h264(true),
    };
    let mut rtc = config.enable_opus(true, false).build(Instant::now());
    rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
    let mut changes = rtc.sdp_api();
    let simulcast = (!setup.layers.is_empty()).then(|| Simulcast {
        send: setup.layers.iter().map(|l| str0m::media::SimulcastLayer::new(l)).collect(),
        recv: Vec::new(),
    });
    let mut add = |kind, simulcast| changes.add_media(kind, setup.direction, None, None, simulcast);
    let audio = setup.audio.then(|| add(MediaKind::Audio, None));
    let video = setup.video.then(|| add(MediaKind::Video, simulcast));
    let (offer, pending) = changes.apply().unwrap();
    Offered { offer: offer.to_sdp_string(), rtc, socket, pending, video, audio }
}

impl Client {
    /// Begins a session at `path`, which must work.
    pub async fn start(router: &Router, path: &str, setup: Setup) -> Client {
        match Client::try_start(router, path, setup).await {
            Ok(client) => client,
            Err((status, body)) => panic!("{path}: {status} {body}"),
        }
    }

    pub async fn try_start(
        router: &Router,
        path: &str,
        setup: Setup,
    ) -> Result<Client, (StatusCode, String)> {
        let Offered { mut rtc, socket, offer, pending, video, audio } = offer(&setup).await;
        let types = [("content-type", "application/sdp")];
        let (status, headers, answer) = ask(router, Method::POST, path, &types, offer).await;
        if status != StatusCode::CREATED {
            return Err((status, answer));
        }
        let text = |name| headers.get(name).map(|v: &header::HeaderValue| v.to_str().unwrap().to_string());
        let location = text("location").expect("a location");
        let answer = SdpAnswer::from_sdp_string(&answer).unwrap();
        rtc.sdp_api().accept_answer(pending, answer).unwrap();
        let (tell, got) = mpsc::unbounded_channel();
        let (send, to_send) = mpsc::unbounded_channel();
        let (keys, wants) = mpsc::unbounded_channel();
        let run = Run {
            rtc,
            socket,
            video,
            audio,
            tell,
            lose: setup.lose,
            count: 0,
            narrow: setup.narrow,
            held: VecDeque::new(),
            free: Instant::now(),
        };
        let task = tokio::spawn(run.run(to_send, wants));
        Ok(Client { got, send, keys, location, headers, task })
    }

    pub async fn next(&mut self) -> Got {
        let next = tokio::time::timeout(Duration::from_secs(10), self.got.recv());
        next.await.expect("something within ten seconds").expect("a client that runs")
    }

    pub async fn connected(&mut self) {
        while !matches!(self.next().await, Got::Connected) {}
    }

    /// The next frame of pictures or of sound.
    pub async fn frame(&mut self, video: bool) -> Frame {
        loop {
            match self.next().await {
                Got::Frame(frame) if frame.video == video => return frame,
                Got::Closed => panic!("the server closed the session"),
                _ => {}
            }
        }
    }
}

struct Run {
    rtc: Rtc,
    socket: UdpSocket,
    video: Option<Mid>,
    audio: Option<Mid>,
    tell: mpsc::UnboundedSender<Got>,
    lose: usize,
    count: usize,
    narrow: Arc<AtomicU64>,
    /// What is on its way, and when it comes.
    held: VecDeque<(Instant, Vec<u8>, SocketAddr)>,
    /// When the way is free.
    free: Instant,
}

impl Run {
    async fn run(
        mut self,
        mut to_send: mpsc::UnboundedReceiver<Send>,
        mut wants: mpsc::UnboundedReceiver<()>,
    ) {
        let mut buffer = vec![0; 2000];
        let here = self.socket.local_addr().unwrap();
        loop {
            let Some(mut next) = self.poll().await else { return };
            while let Some((_, data, source)) = self.held.pop_front_if(|(at, ..)| *at <= Instant::now()) {
                self.receive(&data, source, here);
                match self.poll().await {
                    Some(at) => next = at,
                    None => return,
                }
            }
            let next = self.held.front().map_or(next, |(at, ..)| next.min(*at));
            tokio::select! {
                got = self.socket.recv_from(&mut buffer) => {
                    let Ok((length, source)) = got else { continue };
                    if !self.hold(&buffer[..length], source) {
                        self.receive(&buffer[..length], source, here);
                    }
                    while let Ok((length, source)) = self.socket.try_recv_from(&mut buffer) {
                        if self.hold(&buffer[..length], source) { continue }
                        if self.poll().await.is_none() { return }
                        self.receive(&buffer[..length], source, here);
                    }
                }
                Some(frame) = to_send.recv() => self.write(frame),
                Some(()) = wants.recv() => {
                    let mut writer = self.video.and_then(|m| self.rtc.writer(m)).unwrap();
                    writer.request_keyframe(None, str0m::media::KeyframeRequestKind::Pli).unwrap();
                }
                () = tokio::time::sleep_until(next.into()) => {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                }
            }
        }
    }

    /// Whether the way holds it back, or drops it.
    fn hold(&mut self, data: &[u8], source: SocketAddr) -> bool {
        let (rate, now) = (self.narrow.load(Ordering::Relaxed), Instant::now());
        if rate == 0 && self.held.is_empty() {
            return false;
        }
        self.free = self.free.max(now);
        if self.free - now > HELD {
            return true;
        }
        self.free +=
            Duration::from_secs_f64(data.len() as f64 * 8.0 / if rate == 0 { 1e9 } else { rate as f64 });
        self.held.push_back((self.free, data.to_vec(), source));
        true
    }

    fn receive(&mut self, data: &[u8], source: SocketAddr, here: SocketAddr) {
        let media = data.len() > 100 && (128..192).contains(&data[0]);
        self.count += usize::from(media);
        if media && self.lose > 0 && self.count.is_multiple_of(self.lose) {
            return;
        }
        let receive = Receive::new(Protocol::Udp, source, here, data).unwrap();
        self.rtc.handle_input(Input::Receive(Instant::now(), receive)).unwrap();
    }

    fn write(&mut self, frame: Send) {
        let mid = if frame.video { self.video } else { self.audio };
        let mut writer = self.rtc.writer(mid.unwrap()).unwrap();
        let pt = writer.payload_params().next().unwrap().pt();
        if let Some(layer) = frame.layer {
            writer = writer.rid(Rid::from(layer));
        }
        let rate = if frame.video { Frequency::NINETY_KHZ } else { Frequency::FORTY_EIGHT_KHZ };
        writer.write(pt, Instant::now(), MediaTime::new(frame.ticks, rate), frame.data).unwrap();
    }

    async fn poll(&mut self) -> Option<Instant> {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) if at <= Instant::now() => {
                    self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
                    if !self.rtc.is_alive() {
                        return None;
                    }
                }
                Output::Timeout(at) => return Some(at),
                Output::Transmit(t) => {
                    self.socket.send_to(&t.contents, t.destination).await.unwrap();
                }
                Output::Event(event) => {
                    let got = match event {
                        Event::Connected => Got::Connected,
                        Event::MediaData(d) => Got::Frame(Frame {
                            video: d.params.spec().codec.is_video(),
                            at: Instant::now(),
                            micros: d.time.as_micros(),
                            key: d.is_keyframe(),
                            data: d.data.to_vec(),
                        }),
                        Event::KeyframeRequest(k) => Got::KeyWanted(k.rid.map(|r| r.to_string())),
                        Event::Closed => {
                            let _the_test_is_over = self.tell.send(Got::Closed);
                            return None;
                        }
                        _ => continue,
                    };
                    if self.tell.send(got).is_err() {
                        return None;
                    }
                }
            }
        }
    }
}
