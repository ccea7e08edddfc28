//! One connection: handshake, commands, then a publisher or a reader.

use super::RtmpOptions;
use super::amf;
use super::chunk::{Broken, Decoder, Message, encode};
use super::publish::{Ended, Ingest};
use super::tag::{self, MS};
use crate::live::connections::Listed;
use crate::live::hooks::{Act, Asked};
use crate::live::keys::shown;
use crate::live::{Item, Live, Publisher, Reader, Start, Tracks, Watching};
use crate::serve::ended;
use bytes::{Buf, Bytes, BytesMut};
use ghoststream::packet::{MediaKind, Packet, StreamInfo};
use ghoststream::time::{Rounding, rescale};
use rtmp_rs::amf::AmfValue;
use rtmp_rs::protocol::chunk::RtmpChunk;
use rtmp_rs::protocol::constants as rtmp;
use rtmp_rs::protocol::enhanced::{EnhancedCapabilities, FourCcCapability};
use rtmp_rs::protocol::handshake::{Handshake, HandshakeRole};
use rtmp_rs::protocol::message::{
    Command, ConnectParams, ConnectResponseBuilder, DataMessage, RtmpMessage, UserControlEvent,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// Bytes of our chunks.
const CHUNK: usize = 60_000;
/// What peers acknowledge: bytes.
const WINDOW: u32 = 2_500_000;
/// How long the handshake may take, and a write to a reader.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a reader waits for the next publisher.
const AWAY: Duration = Duration::from_secs(10);
/// What publishers and readers by RTMP are called.
const PROTOCOL: &str = "rtmp";

/// Why a connection ends.
enum Why {
    /// The peer is gone or said so.
    Gone,
    /// What it did wrong.
    Peer(String),
    /// The network, or the time for it, is over.
    Io(std::io::Error),
}

impl From<std::io::Error> for Why {
    fn from(e: std::io::Error) -> Why {
        Why::Io(e)
    }
}

impl From<Broken> for Why {
    fn from(b: Broken) -> Why {
        Why::Peer(b.to_string())
    }
}

type Done<T = ()> = Result<T, Why>;

/// What the connection is for.
enum Role {
    /// Not said yet.
    None,
    Publisher(Box<Ingest>),
    Reader(Box<Playing>),
}

/// A reader's side.
struct Playing {
    reader: Reader,
    stream: u32,
    tracks: Option<std::sync::Arc<Tracks>>,
    /// The tracks that are sent: RTMP has one of each.
    video: Option<usize>,
    audio: Option<usize>,
    /// The time that is the player's 0.
    origin: Option<i64>,
    away: Option<Instant>,
    /// Counts it among the viewers while it lasts.
    _watching: Watching,
}

struct Session<'a> {
    socket: TcpStream,
    peer: SocketAddr,
    live: Live,
    options: &'a RtmpOptions,
    decoder: Decoder,
    input: BytesMut,
    output: BytesMut,
    /// Bytes received, and how many of them were acknowledged.
    received: (u64, u64),
    /// Bytes sent.
    sent: u64,
    /// After how many bytes the peer wants to be told.
    window: u64,
    app: String,
    /// The query of the app's address.
    query: String,
    role: Role,
    /// In the list of those who publish and read, since it does.
    listed: Option<Listed>,
}

/// Serves a connection to its end.
pub async fn run(
    socket: TcpStream,
    peer: SocketAddr,
    live: Live,
    options: &RtmpOptions,
    mut ending: watch::Receiver<bool>,
) {
    // Without it a part of a frame waits for the acknowledgement of the one before.
    let _only_slower = socket.set_nodelay(true);
    let mut session = Session {
        socket,
        peer,
        live,
        options,
        decoder: Decoder::new(),
        input: BytesMut::with_capacity(64 << 10),
        output: BytesMut::new(),
        received: (0, 0),
        sent: 0,
        window: u64::from(WINDOW),
        app: String::new(),
        query: String::new(),
        role: Role::None,
        listed: None,
    };
    let outcome = tokio::select! {
        outcome = session.serve() => outcome,
        () = ended(&mut ending) => Err(Why::Gone),
    };
    // What moved since it was last told.
    session.note();
    let stream = session.stream_name();
    match outcome {
        Ok(()) | Err(Why::Gone) => tracing::debug!(%peer, stream, "RTMP connection ended"),
        Err(Why::Peer(why)) => tracing::warn!(%peer, stream, "RTMP connection closed: {why}"),
        Err(Why::Io(e)) => tracing::info!(%peer, stream, "RTMP connection lost: {e}"),
    }
}

impl Session<'_> {
    fn stream_name(&self) -> String {
        match &self.role {
            Role::Publisher(ingest) => ingest.name().into(),
            _ => self.app.clone(),
        }
    }

    async fn serve(&mut self) -> Done {
        timeout(PATIENCE, self.handshake())
            .await
            .map_err(|_| Why::Peer("no handshake within 10 s".into()))??;
        let mut heard = Instant::now();
        loop {
            while let Some(message) = self.decoder.next(&mut self.input)? {
                self.message(message).await?;
            }
            if self.received.0 - self.received.1 >= self.window / 2 {
                self.received.1 = self.received.0;
                let sequence = self.received.0 as u32;
                self.control(RtmpMessage::Acknowledgement { sequence });
            }
            self.flush().await?;
            self.note();
            let silence = self.options.silence;
            let room = self.input.capacity() - self.input.len();
            if room < 16 << 10 {
                self.input.reserve(64 << 10);
            }
            match &mut self.role {
                Role::Reader(playing) => {
                    let left = playing.away.map(|since| AWAY.saturating_sub(since.elapsed()));
                    let item = tokio::select! {
                        item = playing.reader.next() => Some(item),
                        read = self.socket.read_buf(&mut self.input) => {
                            self.count(read?)?;
                            None
                        }
                        () = tokio::time::sleep(left.unwrap_or(Duration::MAX)), if left.is_some() => Some(Item::End),
                    };
                    if let Some(item) = item
                        && !self.play(item)?
                    {
                        return self.flush().await;
                    }
                }
                Role::None | Role::Publisher(_) => {
                    let left = silence.saturating_sub(heard.elapsed());
                    let read = timeout(left, self.socket.read_buf(&mut self.input))
                        .await
                        .map_err(|_| Why::Peer(format!("nothing for {} s", silence.as_secs())))??;
                    self.count(read)?;
                    heard = Instant::now();
                }
            }
        }
    }

    /// Says how the connection is to who asks for the list.
    fn note(&self) {
        let Some(listed) = &self.listed else { return };
        let dropped = match &self.role {
            Role::None => 0,
            Role::Publisher(ingest) => ingest.damaged(),
            Role::Reader(playing) => playing.reader.dropped(),
        };
        listed.note(|c| (c.bytes_in, c.bytes_out, c.dropped) = (self.received.0, self.sent, dropped));
    }

    fn count(&mut self, read: usize) -> Done {
        self.received.0 += read as u64;
        if read == 0 { Err(Why::Gone) } else { Ok(()) }
    }

    async fn handshake(&mut self) -> Done {
        let mut handshake = Handshake::new(HandshakeRole::Server);
        handshake.generate_initial();
        while !handshake.is_done() {
            if self.input.len() < handshake.bytes_needed() {
                let read = self.socket.read_buf(&mut self.input).await?;
                self.count(read)?;
                // A client of something else says so with its first byte.
                if self.input.first().is_some_and(|version| !(3..32).contains(version))
                    && !handshake.is_done()
                {
                    return Err(Why::Peer("this is not RTMP".into()));
                }
                continue;
            }
            let mut data = Bytes::copy_from_slice(&self.input);
            let answer = handshake.process(&mut data).map_err(|e| Why::Peer(e.to_string()))?;
            self.input.advance(self.input.len() - data.len());
            if let Some(answer) = answer {
                self.socket.write_all(&answer).await?;
                self.sent += answer.len() as u64;
            }
            if !handshake.is_done() && handshake.bytes_needed() == rtmp::HANDSHAKE_SIZE {
                // The second packet is random bytes: its first one says nothing.
                while self.input.len() < handshake.bytes_needed() {
                    let read = self.socket.read_buf(&mut self.input).await?;
                    self.count(read)?;
                }
            }
        }
        Ok(())
    }

    /// Sends what was written. A reader that does not take it for long is let go.
    async fn flush(&mut self) -> Done {
        if self.output.is_empty() {
            return Ok(());
        }
        timeout(PATIENCE, self.socket.write_all(&self.output))
            .await
            .map_err(|_| Why::Peer("takes nothing for 10 s".into()))??;
        self.sent += self.output.len() as u64;
        self.output.clear();
        Ok(())
    }

    fn write(&mut self, lane: u8, kind: u8, stream: u32, timestamp: u32, payload: Bytes) {
        encode(&Message { kind, stream, timestamp, payload }, lane, CHUNK, &mut self.output);
    }

    fn control(&mut self, message: RtmpMessage) {
        let (kind, payload) = message.encode();
        // Before the chunk size is told, chunks are of 128 bytes; control messages are shorter.
        self.write(2, kind, 0, 0, payload);
    }

    fn command(&mut self, stream: u32, command: Command) {
        let (kind, payload) = RtmpMessage::Command(command).encode();
        self.write(3, kind, stream, 0, payload);
    }

    fn status(&mut self, stream: u32, level: &str, code: &str, text: &str) {
        self.command(stream, Command::on_status(stream, level, code, text));
    }

    async fn message(&mut self, message: Message) -> Done {
        match message.kind {
            rtmp::MSG_AUDIO => return self.media(MediaKind::Audio, message.timestamp, &message.payload),
            rtmp::MSG_VIDEO => return self.media(MediaKind::Video, message.timestamp, &message.payload),
            rtmp::MSG_AGGREGATE => return self.aggregate(&message),
            rtmp::MSG_COMMAND_AMF0 | rtmp::MSG_COMMAND_AMF3 | rtmp::MSG_DATA_AMF0 | rtmp::MSG_DATA_AMF3 => {
                return self.values(&message).await;
            }
            _ => {}
        }
        let chunk = RtmpChunk {
            csid: 3,
            timestamp: message.timestamp,
            message_type: message.kind,
            stream_id: message.stream,
            payload: message.payload,
        };
        let message = RtmpMessage::from_chunk(&chunk).map_err(|e| Why::Peer(e.to_string()))?;
        match message {
            RtmpMessage::SetChunkSize(size) => self.decoder.set_size(size)?,
            RtmpMessage::Abort { csid } => self.decoder.abort(csid),
            RtmpMessage::WindowAckSize(size) => self.window = u64::from(size.max(1)),
            RtmpMessage::UserControl(UserControlEvent::PingRequest(time)) => {
                self.control(RtmpMessage::UserControl(UserControlEvent::PingResponse(time)));
            }
            // The rest is told, not asked.
            _ => {}
        }
        Ok(())
    }

    /// A command, or metadata.
    async fn values(&mut self, message: &Message) -> Done {
        let marked = matches!(message.kind, rtmp::MSG_COMMAND_AMF3 | rtmp::MSG_DATA_AMF3);
        // In front of AMF0 in a message for AMF3 stands a 0.
        let skip = usize::from(marked && message.payload.first() == Some(&0));
        let mut values =
            amf::values(&message.payload[skip..]).map_err(|e| Why::Peer(e.to_string()))?.into_iter();
        let is_data = matches!(message.kind, rtmp::MSG_DATA_AMF0 | rtmp::MSG_DATA_AMF3);
        let Some(AmfValue::String(name)) = values.next() else {
            // Data that is not called anything is nobody's.
            return if is_data { Ok(()) } else { Err(Why::Peer("a command without a name".into())) };
        };
        if is_data {
            self.data(&DataMessage { name, values: values.collect(), stream_id: message.stream });
            return Ok(());
        }
        self.obey(Command {
            name,
            transaction_id: values.next().and_then(|v| v.as_number()).unwrap_or(0.0),
            command_object: values.next().unwrap_or(AmfValue::Null),
            arguments: values.collect(),
            stream_id: message.stream,
        })
        .await
    }

    fn media(&mut self, kind: MediaKind, timestamp: u32, body: &Bytes) -> Done {
        let Role::Publisher(ingest) = &mut self.role else {
            return Err(Why::Peer("media without publishing".into()));
        };
        let outcome = match kind {
            MediaKind::Audio => ingest.audio(timestamp, body),
            _ => ingest.video(timestamp, body),
        };
        outcome.map_err(|ended| match ended {
            Ended::Superseded(why) => Why::Peer(why.to_string()),
            Ended::Bad(e) => Why::Peer(e.message().into()),
        })
    }

    /// Several tags in one message, each with an FLV header and its length behind it.
    fn aggregate(&mut self, message: &Message) -> Done {
        let mut rest = message.payload.clone();
        let mut first = None;
        while rest.len() >= 11 {
            let length = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
            let time = u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]);
            let kind = rest[0];
            if rest.len() < 11 + length {
                return Err(Why::Peer("an aggregate message ends within a tag".into()));
            }
            let body = rest.slice(11..11 + length);
            rest.advance((11 + length + 4).min(rest.len()));
            let time = message.timestamp.wrapping_add(time.wrapping_sub(*first.get_or_insert(time)));
            match kind {
                rtmp::MSG_AUDIO => self.media(MediaKind::Audio, time, &body)?,
                rtmp::MSG_VIDEO => self.media(MediaKind::Video, time, &body)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn data(&mut self, data: &DataMessage) {
        let fields = match (data.name.as_str(), &data.values[..]) {
            (rtmp::CMD_SET_DATA_FRAME, [AmfValue::String(name), fields, ..])
                if name == rtmp::CMD_ON_METADATA =>
            {
                fields
            }
            (rtmp::CMD_ON_METADATA, [fields, ..]) => fields,
            _ => return,
        };
        if let (Role::Publisher(ingest), Some(fields)) = (&mut self.role, fields.as_object()) {
            ingest.metadata(fields);
        }
    }

    async fn obey(&mut self, command: Command) -> Done {
        let id = command.transaction_id;
        let name =
            |index: usize| command.arguments.get(index).and_then(AmfValue::as_str).unwrap_or("").to_string();
        match command.name.as_str() {
            rtmp::CMD_CONNECT => return self.connect(&command),
            rtmp::CMD_CREATE_STREAM => {
                self.command(0, Command::result(id, AmfValue::Null, AmfValue::Number(1.0)));
            }
            rtmp::CMD_PUBLISH => return self.publish(command.stream_id, &name(0)).await,
            rtmp::CMD_PLAY | rtmp::CMD_PLAY2 => return self.begin_play(command.stream_id, &name(0)).await,
            rtmp::CMD_FC_PUBLISH => {
                let info = status_of("NetStream.Publish.Start", &name(0));
                let mut answer = Command::result(0.0, AmfValue::Null, info);
                answer.name = rtmp::CMD_ON_FC_PUBLISH.into();
                self.command(0, answer);
            }
            rtmp::CMD_DELETE_STREAM | rtmp::CMD_FC_UNPUBLISH | "closeStream" => {
                if !matches!(self.role, Role::None) {
                    return Err(Why::Gone);
                }
            }
            // Encoders wait for an answer to these.
            "getStreamLength" => self.command(0, Command::result(id, AmfValue::Null, AmfValue::Number(0.0))),
            rtmp::CMD_RELEASE_STREAM | "_checkbw" | "FCSubscribe" if id > 0.0 => {
                self.command(0, Command::result(id, AmfValue::Null, AmfValue::Undefined));
            }
            other => tracing::debug!(peer = %self.peer, "RTMP command {other}"),
        }
        Ok(())
    }

    fn connect(&mut self, command: &Command) -> Done {
        let params = ConnectParams::from_amf(&command.command_object);
        // `app?key=…` of some encoders.
        let (app, query) = params.app.split_once('?').unwrap_or((&params.app, ""));
        self.app = app.trim_matches('/').into();
        self.query = query.into();
        self.control(RtmpMessage::WindowAckSize(WINDOW));
        self.control(RtmpMessage::SetPeerBandwidth {
            size: WINDOW,
            limit_type: rtmp::BANDWIDTH_LIMIT_DYNAMIC,
        });
        self.control(RtmpMessage::SetChunkSize(CHUNK as u32));
        self.control(RtmpMessage::UserControl(UserControlEvent::StreamBegin(0)));
        let mut answer = ConnectResponseBuilder::new();
        if params.has_enhanced_rtmp() {
            answer = answer.enhanced_capabilities(&capabilities());
        }
        self.command(0, answer.build(command.transaction_id));
        Ok(())
    }

    /// What is asked for, and the key shown for it.
    fn address(&self, act: Act, name: &str) -> (Asked, Option<String>) {
        let (name, query) = name.split_once('?').unwrap_or((name, ""));
        let name = name.trim_matches('/');
        // A name of one word is all application to most clients.
        let full = format!("{}/{name}", self.app).trim_matches('/').to_string();
        let key = shown(query).or_else(|| shown(&self.query)).map(String::from);
        let query = if query.is_empty() { &self.query } else { query };
        let (peer, query) = (Some(self.peer), query.into());
        (Asked { act, stream: full, protocol: PROTOCOL, peer, query }, key)
    }

    async fn publish(&mut self, stream: u32, name: &str) -> Done {
        if !matches!(self.role, Role::None) {
            return Err(Why::Peer("publish on a connection that is in use".into()));
        }
        let (asked, key) = self.address(Act::Publish, name);
        let allowed = match self.options.keys.may_publish(&asked.stream, key.as_deref()) {
            true => self.options.keys.allow(&asked).await,
            false => Err("a key is needed to publish".into()),
        };
        let name = asked.stream;
        let publication = allowed.and_then(|()| {
            let publisher = Publisher::new(PROTOCOL, Some(self.peer));
            self.live.publish(&name, publisher).map_err(|refused| refused.to_string())
        });
        match publication {
            Ok(publication) => {
                self.role = Role::Publisher(Box::new(Ingest::new(publication)));
                self.listed = Some(self.options.list.enter(PROTOCOL, &name, true, self.peer));
                self.status(stream, "status", rtmp::NS_PUBLISH_START, &format!("{name} is published"));
            }
            Err(why) => self.refuse(stream, rtmp::NS_PUBLISH_BAD_NAME, &why)?,
        }
        Ok(())
    }

    /// Says why and ends the connection.
    fn refuse(&mut self, stream: u32, code: &str, why: &str) -> Done {
        self.status(stream, "error", code, why);
        // What cannot be sent at once is not worth waiting for.
        let _gone = self.socket.try_write(&self.output);
        self.output.clear();
        Err(Why::Peer(why.into()))
    }

    async fn begin_play(&mut self, stream: u32, name: &str) -> Done {
        if !matches!(self.role, Role::None) {
            return Err(Why::Peer("play on a connection that is in use".into()));
        }
        let (asked, key) = self.address(Act::Read, name);
        if !self.options.keys.may_read(&asked.stream, key.as_deref()) {
            return self.refuse(stream, rtmp::NS_PLAY_STREAM_NOT_FOUND, "a key is needed to play");
        }
        if let Err(why) = self.options.keys.allow(&asked).await {
            return self.refuse(stream, rtmp::NS_PLAY_STREAM_NOT_FOUND, &why);
        }
        let name = asked.stream;
        let Some(found) = self.live.get(&name) else {
            return self.refuse(
                stream,
                rtmp::NS_PLAY_STREAM_NOT_FOUND,
                &format!("there is no stream {name}"),
            );
        };
        self.control(RtmpMessage::UserControl(UserControlEvent::StreamBegin(stream)));
        self.status(stream, "status", rtmp::NS_PLAY_RESET, "playing and resetting");
        self.status(stream, "status", rtmp::NS_PLAY_START, &format!("playing {name}"));
        let published = found.tracks().is_some();
        self.role = Role::Reader(Box::new(Playing {
            reader: found.subscribe(Start::Group),
            _watching: self.live.watching(&name, PROTOCOL, Some(self.peer)),
            stream,
            tracks: None,
            video: None,
            audio: None,
            origin: None,
            away: (!published).then(Instant::now),
        }));
        self.listed = Some(self.options.list.enter(PROTOCOL, &name, false, self.peer));
        Ok(())
    }

    /// Sends one item to the reader; `false` at the end.
    fn play(&mut self, item: Item) -> Done<bool> {
        let Role::Reader(playing) = &mut self.role else { return Ok(false) };
        let stream = playing.stream;
        match item {
            Item::Tracks(tracks) => {
                let of = |kind: MediaKind| {
                    tracks.streams.iter().position(|s| s.kind == kind && tag::carries(&s.codec))
                };
                (playing.video, playing.audio) = (of(MediaKind::Video), of(MediaKind::Audio));
                playing.away = None;
                playing.tracks = Some(tracks.clone());
                let time = 0;
                let infos: Vec<&StreamInfo> = [playing.video, playing.audio]
                    .into_iter()
                    .flatten()
                    .filter_map(|i| tracks.streams.get(i))
                    .collect();
                if infos.is_empty() {
                    self.status(
                        stream,
                        "error",
                        rtmp::NS_PLAY_STOP,
                        "RTMP cannot carry this stream's codecs",
                    );
                    return Ok(false);
                }
                let fields = AmfValue::EcmaArray(metadata(&infos));
                let data = DataMessage {
                    name: rtmp::CMD_ON_METADATA.into(),
                    values: vec![fields],
                    stream_id: stream,
                };
                let (kind, payload) = RtmpMessage::Data(data).encode();
                self.write(5, kind, stream, time, payload);
                for info in infos {
                    if let Some(body) = tag::config_of(info) {
                        let (lane, kind) = lane(info.kind);
                        self.write(lane, kind, stream, time, body);
                    }
                }
            }
            Item::Packet(packet) => {
                let index = Some(packet.stream);
                if index != playing.video && index != playing.audio {
                    return Ok(true);
                }
                let Some(info) = playing.tracks.as_ref().and_then(|t| t.streams.get(packet.stream)) else {
                    return Ok(true);
                };
                let (lane, kind) = lane(info.kind);
                let body = tag::frame_of(&info.codec, &packet);
                let time = ms(&packet);
                let origin = *playing.origin.get_or_insert(time);
                self.write(lane, kind, stream, (time - origin).max(0) as u32, body);
            }
            // Players take NetStream.Play.UnpublishNotify for the end, and another publisher may come.
            Item::Away => playing.away = Some(Instant::now()),
            Item::End => {
                self.control(RtmpMessage::UserControl(UserControlEvent::StreamEof(stream)));
                self.status(stream, "status", rtmp::NS_PLAY_STOP, "the stream has ended");
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The decode time in milliseconds.
fn ms(packet: &Packet) -> i64 {
    rescale(packet.dts.or(packet.pts).unwrap_or(0), packet.base, MS, Rounding::Nearest)
}

/// Chunk stream and message type of media.
fn lane(kind: MediaKind) -> (u8, u8) {
    if kind == MediaKind::Audio { (4, rtmp::MSG_AUDIO) } else { (6, rtmp::MSG_VIDEO) }
}

fn status_of(code: &str, text: &str) -> AmfValue {
    AmfValue::Object(HashMap::from([
        ("level".into(), AmfValue::String("status".into())),
        ("code".into(), AmfValue::String(code.into())),
        ("description".into(), AmfValue::String(text.into())),
    ]))
}

/// What is told of Enhanced RTMP: codecs that are forwarded.
fn capabilities() -> EnhancedCapabilities {
    use rtmp_rs::media::fourcc::{AudioFourCc, VideoFourCc};
    let forward = FourCcCapability::forward();
    let mut capabilities = EnhancedCapabilities::new();
    capabilities.enabled = true;
    for codec in [VideoFourCc::Avc, VideoFourCc::Hevc, VideoFourCc::Av1, VideoFourCc::Vp9] {
        capabilities.video_codecs.insert(codec, forward);
    }
    for codec in [AudioFourCc::Aac, AudioFourCc::Opus] {
        capabilities.audio_codecs.insert(codec, forward);
    }
    capabilities
}

/// `onMetaData` for a reader.
fn metadata(infos: &[&StreamInfo]) -> HashMap<String, AmfValue> {
    let mut fields = HashMap::new();
    let mut set = |key: &str, value: f64| fields.insert(key.to_string(), AmfValue::Number(value));
    for info in infos {
        if let Some(video) = &info.video {
            set("width", f64::from(video.width));
            set("height", f64::from(video.height));
            if let Some(rate) = video.frame_rate {
                set("framerate", rate.as_f64());
            }
            set(
                "videocodecid",
                if info.codec.name() == "h264" { 7.0 } else { fourcc_number(info.codec.name()) },
            );
        }
        if let Some(audio) = &info.audio {
            set("audiosamplerate", f64::from(audio.sample_rate));
            set("audiochannels", f64::from(audio.layout.channels));
            set(
                "audiocodecid",
                if info.codec.name() == "aac" { 10.0 } else { fourcc_number(info.codec.name()) },
            );
        }
    }
    fields
}

/// Enhanced RTMP's codec numbers: the four characters as a big-endian number.
fn fourcc_number(codec: &str) -> f64 {
    let four: &[u8; 4] = match codec {
        "hevc" => b"hvc1",
        "av1" => b"av01",
        "vp9" => b"vp09",
        "opus" => b"Opus",
        _ => return 0.0,
    };
    f64::from(u32::from_be_bytes(*four))
}
