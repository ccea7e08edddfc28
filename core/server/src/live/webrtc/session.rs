//! One client: the task that drives its `Rtc`, and what it does with what comes of it.

use super::clock::Report;
use super::intake::{Frame, Intake, Out};
use super::offer::Kind;
use super::play::{Over, Play};
use super::probe::Probe;
use super::rungs::{Rungs, Way};
use super::stats::SessionStats;
use super::wire::{Datagram, Parcel, Wire};
use super::{Handle, Hub};
use crate::live::registry::{Publication, Watching};
use crate::live::stream::Item;
use ghoststream::packet::{Codec, MediaKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::bwe::{Bitrate, BweKind};
use str0m::format::Codec as RtpCodec;
use str0m::media::{Frequency, KeyframeRequestKind, MediaData, MediaTime, Mid, Pt, Rid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

/// How long a client may take until media can flow.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a publisher may send nothing.
const SILENCE: Duration = Duration::from_secs(20);
/// How long a viewer waits for another publisher.
const AWAY: Duration = Duration::from_secs(30);
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_millis(300);
/// Between two looks at what waits.
const TICK: Duration = Duration::from_millis(100);
/// Between two new begins for a viewer that asks for key frames.
const AGAIN: Duration = Duration::from_secs(1);
/// Datagrams that are taken in one go.
const GO: usize = 64;
/// Times in sender reports lie so far back, so that those of a publisher who is ahead are not in the future.
const MARGIN: Duration = Duration::from_secs(2);

/// What the server tells a session.
#[derive(Debug)]
pub enum Command {
    /// Candidates of the client.
    Candidates(Vec<Candidate>),
    /// It is over.
    Close,
}

/// Where a viewer's frames go.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The media line.
    pub mid: Mid,
    /// The payload type.
    pub pt: Pt,
    /// Pictures or sound.
    pub kind: MediaKind,
}

/// What the session is for.
pub enum Role {
    /// Its client publishes.
    Publish {
        /// The right to.
        publication: Publication,
        /// What comes, on its way.
        intake: Box<Intake>,
        /// Somebody who watches wants a key frame.
        wanted: Arc<Notify>,
    },
    /// Its client watches.
    Play {
        /// What goes, on its way.
        play: Box<Play>,
        /// Where to.
        exits: Vec<Exit>,
        /// Whether it is what a publisher sends, not what was made of it.
        direct: bool,
        /// Which rendition it gets, where there are some.
        rungs: Option<Box<Rungs>>,
        /// Counts it among the viewers while it lasts.
        _watching: Watching,
    },
}

/// A session before it runs.
pub struct Session {
    pub id: Uuid,
    /// The ICE user.
    pub name: String,
    pub rtc: Rtc,
    pub wire: Arc<Wire>,
    pub inbox: mpsc::Receiver<Datagram>,
    pub commands: mpsc::Receiver<Command>,
    pub handle: Arc<Handle>,
    pub hub: Arc<Hub>,
    pub role: Role,
}

/// The session's end, whatever ends it.
struct Guard {
    id: Uuid,
    name: String,
    wire: Arc<Wire>,
    hub: Arc<Hub>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.wire.close(self.id, &self.name);
        self.hub.remove(self.id);
    }
}

/// Why a session ended, for the log.
type Reason = String;

impl Session {
    /// Runs it until it ends.
    pub async fn run(self) {
        let guard =
            Guard { id: self.id, name: self.name.clone(), wire: self.wire.clone(), hub: self.hub.clone() };
        let began = Instant::now();
        let (stream, protocol) = (self.handle.stream.clone(), self.handle.protocol);
        let mut running = Running {
            driver: Driver {
                rtc: self.rtc,
                probe: Probe::default(),
                wire: self.wire,
                name: self.name,
                known: Vec::new(),
                parcels: Vec::new(),
                events: Vec::new(),
            },
            handle: self.handle,
            hub: self.hub,
            role: self.role,
            began,
            connected: false,
            key_asked: None,
        };
        let (mut inbox, mut commands) = (self.inbox, self.commands);
        let reason = running.work(&mut inbox, &mut commands).await;
        tracing::info!(stream, protocol, session = %guard.id, reason, "WebRTC session ended");
        running.farewell(&mut inbox).await;
    }
}

/// The `Rtc`, between the socket and the session.
struct Driver {
    rtc: Rtc,
    probe: Probe,
    wire: Arc<Wire>,
    name: String,
    known: Vec<SocketAddr>,
    parcels: Vec<Parcel>,
    events: Vec<Event>,
}

impl Driver {
    /// Takes a datagram. What is none of ICE, DTLS, RTP and RTCP is nothing.
    fn receive(&mut self, datagram: &Datagram) {
        let (source, destination) = (datagram.source, datagram.destination);
        let Ok(receive) = Receive::new(Protocol::Udp, source, destination, &datagram.data) else { return };
        let input = Input::Receive(datagram.at, receive);
        if !self.rtc.accepts(&input) {
            return;
        }
        self.probe.told(datagram.at);
        // Whoever could sign a request is the client.
        if !self.known.contains(&source) && self.known.len() < 32 {
            self.known.push(source);
            self.wire.learn(&self.name, source);
        }
        // A datagram that cannot be understood is no reason to end: anybody can send one in the client's name.
        if let Err(e) = self.rtc.handle_input(input) {
            tracing::debug!(%source, "WebRTC: {e}");
        }
    }

    /// Drives until there is nothing to do before the time that it gives.
    fn poll(&mut self) -> Result<Instant, RtcError> {
        let mut turns = 0;
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(t)) => self.parcels.push(Parcel {
                    source: t.source,
                    destination: t.destination,
                    data: t.contents.into(),
                }),
                Ok(Output::Event(event)) => self.events.push(event),
                Ok(Output::Timeout(at)) => {
                    let now = Instant::now();
                    turns += 1;
                    if at > now || turns > 1000 {
                        return Ok(at.max(now + Duration::from_micros(100)));
                    }
                    let time = self.probe.time(at, self.rtc.last_timeout_reason(), now);
                    self.rtc.handle_input(Input::Timeout(time))?;
                }
                // A payload that cannot be put together is lost, as if it had not come.
                Err(RtcError::Packet(mid, pt, e)) => tracing::debug!(%mid, %pt, "WebRTC: {e}"),
                Err(e) => return Err(e),
            }
        }
    }

    fn flush(&mut self) {
        if !self.parcels.is_empty() {
            self.wire.send(&mut self.parcels);
        }
    }
}

struct Running {
    driver: Driver,
    handle: Arc<Handle>,
    hub: Arc<Hub>,
    role: Role,
    began: Instant,
    connected: bool,
    /// When the publisher was asked for a key frame for this viewer.
    key_asked: Option<Instant>,
}

impl Running {
    async fn work(
        &mut self,
        inbox: &mut mpsc::Receiver<Datagram>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Reason {
        match self.drive(inbox, commands).await {
            Ok(reason) | Err(reason) => reason,
        }
    }

    async fn drive(
        &mut self,
        inbox: &mut mpsc::Receiver<Datagram>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Reason, Reason> {
        let failed = |e: RtcError| e.to_string();
        let mut tick = self.began + TICK;
        loop {
            let now = Instant::now();
            if now >= tick {
                tick = now + TICK;
                self.tick(now)?;
            }
            self.send(now);
            let next = self.poll()?;
            self.driver.flush();
            if !self.driver.rtc.is_alive() {
                return Ok("the client closed it".into());
            }
            let until = next.min(tick).min(self.due().unwrap_or(tick));
            let woken = {
                let (item, wanted) = match &mut self.role {
                    Role::Play { play, .. } => (Some(play), None),
                    Role::Publish { wanted, .. } => (None, Some(wanted.clone())),
                };
                tokio::select! {
                    biased;
                    command = commands.recv() => Woken::Command(command.unwrap_or(Command::Close)),
                    datagram = inbox.recv() => match datagram {
                        Some(datagram) => Woken::Datagram(datagram),
                        None => return Err("the socket is gone".into()),
                    },
                    item = next_item(item) => Woken::Item(item),
                    () = notified(wanted) => Woken::Wanted,
                    () = self.driver.wire.writable(), if !self.driver.parcels.is_empty() => Woken::Writable,
                    () = tokio::time::sleep_until(until.into()) => Woken::Time,
                }
            };
            match woken {
                Woken::Command(Command::Close) => return Ok("it was ended".into()),
                Woken::Command(Command::Candidates(candidates)) => {
                    candidates.into_iter().for_each(|c| self.driver.rtc.add_remote_candidate(c));
                }
                Woken::Datagram(first) => {
                    self.driver.receive(&first);
                    for _ in 0..GO {
                        let Ok(datagram) = inbox.try_recv() else { break };
                        self.driver.poll().map_err(failed)?;
                        self.driver.receive(&datagram);
                    }
                }
                Woken::Item(item) => {
                    if let Role::Play { play, .. } = &mut self.role {
                        play.take(item, Instant::now()).map_err(over)?;
                    }
                }
                Woken::Wanted => {
                    let since = self.began.elapsed();
                    if let Role::Publish { intake, .. } = &mut self.role {
                        let out = intake.want_key(since);
                        self.publish(out)?;
                    }
                }
                Woken::Writable => self.driver.flush(),
                // The next poll does what is due.
                Woken::Time => {}
            }
        }
    }

    /// Drives the `Rtc` and does what its events ask for, until there are none.
    fn poll(&mut self) -> Result<Instant, Reason> {
        loop {
            let next = self.driver.poll().map_err(|e| e.to_string())?;
            if self.driver.events.is_empty() {
                return Ok(next);
            }
            for event in std::mem::take(&mut self.driver.events) {
                self.event(event)?;
            }
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Reason> {
        match event {
            Event::Connected => {
                self.connected = true;
                let peer = self.driver.known.last().copied();
                self.stats(|s| (s.connected, s.peer) = (true, peer));
                self.hub.connected(self.began.elapsed());
                tracing::debug!(stream = self.handle.stream, session = %self.handle.id, "WebRTC connected");
                if let Role::Play { play, .. } = &mut self.role {
                    play.begin(Instant::now()).map_err(over)?;
                }
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                return Err("the client is gone".into());
            }
            Event::MediaData(data) => {
                let since = data.network_time.saturating_duration_since(self.began);
                if let (Role::Publish { intake, .. }, Some(frame)) = (&mut self.role, frame(data, since)) {
                    let out = intake.take(&frame);
                    self.publish(out)?;
                }
            }
            Event::KeyframeRequest(_) => self.key_wanted()?,
            Event::EgressBitrateEstimate(estimate) => self.estimated(&estimate),
            event @ (Event::PeerStats(_) | Event::MediaIngressStats(_) | Event::MediaEgressStats(_)) => {
                self.stats(|s| s.note(&event));
            }
            _ => {}
        }
        Ok(())
    }

    /// A viewer asks for a key frame: a WHIP publisher can make one; of any other stream, or when none comes, the last one is
    /// sent again.
    fn key_wanted(&mut self) -> Result<(), Reason> {
        let now = Instant::now();
        let Role::Play { play, direct, .. } = &mut self.role else { return Ok(()) };
        let in_vain = self.key_asked.is_some_and(|asked| {
            now.saturating_duration_since(asked) > AGAIN && play.last_key().is_none_or(|key| key < asked)
        });
        if *direct && !in_vain && self.hub.want_key(&self.handle.stream) {
            if self.key_asked.is_none_or(|asked| play.last_key().is_some_and(|key| key > asked)) {
                self.key_asked = Some(now);
            }
        } else if play.since_begin(now).is_some_and(|t| t >= AGAIN) {
            self.key_asked = None;
            play.begin(now).map_err(over)?;
        }
        Ok(())
    }

    fn publish(&mut self, out: Vec<Out>) -> Result<(), Reason> {
        let Role::Publish { publication, .. } = &self.role else { return Ok(()) };
        let mut asked = Vec::new();
        for out in out {
            let done = match out {
                Out::Tracks(streams) => publication.announce(streams),
                Out::Packet(packet) => publication.push(packet),
                Out::Ask(layer) => {
                    asked.push(layer);
                    Ok(())
                }
            };
            done.map_err(|e| e.to_string())?;
        }
        for layer in asked {
            self.ask(layer.as_deref());
        }
        Ok(())
    }

    /// Asks the publisher for a key frame.
    fn ask(&mut self, layer: Option<&str>) {
        let Some(mid) = self.handle.video else { return };
        let Some(mut writer) = self.driver.rtc.writer(mid) else { return };
        let rid = layer.map(Rid::from);
        let kind = [KeyframeRequestKind::Pli, KeyframeRequestKind::Fir]
            .into_iter()
            .find(|k| writer.is_request_keyframe_possible(*k));
        // Fails while nothing came of the layer: then there is nobody to ask.
        let asked = kind.is_some_and(|kind| writer.request_keyframe(rid, kind).is_ok());
        if asked {
            self.stats(|s| s.key_frame_requests += 1);
        }
    }

    /// Sends a viewer what may go out now.
    fn send(&mut self, now: Instant) {
        let Role::Play { play, exits, .. } = &mut self.role else { return };
        let epoch = self.handle.epoch;
        while let Some(frame) = play.pop(now) {
            let Some(exit) = exits.iter().find(|e| e.kind == frame.kind) else { continue };
            let Some(writer) = self.driver.rtc.writer(exit.mid) else { continue };
            let rate = match frame.kind {
                MediaKind::Video => Frequency::NINETY_KHZ,
                _ => Frequency::FORTY_EIGHT_KHZ,
            };
            let time = MediaTime::new(u64::try_from(frame.ticks).unwrap_or(0), rate);
            let since = Duration::from_micros(u64::try_from(frame.micros).unwrap_or(0));
            let wallclock = (epoch + since).checked_sub(MARGIN).unwrap_or(epoch).min(now);
            if let Err(e) = writer.write(exit.pt, wallclock, time, frame.data) {
                tracing::debug!(stream = self.handle.stream, "WHEP: {e}");
            }
            // What was written becomes packets before the next is.
            if let Err(e) = self.driver.poll() {
                tracing::debug!(stream = self.handle.stream, "WHEP: {e}");
                return;
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.role {
            Role::Play { play, .. } => play.due(),
            Role::Publish { .. } => None,
        }
    }

    /// What time alone brings.
    fn tick(&mut self, now: Instant) -> Result<(), Reason> {
        if !self.connected {
            return if now.saturating_duration_since(self.began) > CONNECT {
                Err("the client did not connect in time".into())
            } else {
                Ok(())
            };
        }
        let since = now.saturating_duration_since(self.began);
        let (out, dropped) = match &mut self.role {
            Role::Publish { intake, publication, .. } => {
                publication.check().map_err(|e| e.to_string())?;
                if since.saturating_sub(intake.last_any()) > SILENCE {
                    return Err("nothing came from the publisher".into());
                }
                (intake.tick(since), intake.dropped())
            }
            Role::Play { play, .. } => {
                if play.away().is_some_and(|a| now.saturating_duration_since(a) > AWAY) {
                    return Err("nobody publishes the stream any more".into());
                }
                (Vec::new(), play.dropped())
            }
        };
        self.stats(|s| s.dropped = dropped);
        self.adapt(now)?;
        self.publish(out)
    }

    /// What the way to the client bears has turned out to be so much.
    fn estimated(&mut self, estimate: &BweKind) {
        let way = match estimate {
            BweKind::Twcc { estimate, can_probe } => Way { bits: estimate.as_u64(), probed: *can_probe },
            BweKind::Remb { estimate, .. } => Way { bits: estimate.as_u64(), probed: false },
            _ => return,
        };
        self.stats(|s| s.estimate = Some(way.bits));
        if let Role::Play { rungs: Some(rungs), .. } = &mut self.role {
            rungs.estimated(way);
        }
    }

    /// Gives a viewer the rendition that the way to it bears.
    fn adapt(&mut self, now: Instant) -> Result<(), Reason> {
        let Role::Play { play, direct, rungs: Some(rungs), .. } = &mut self.role else { return Ok(()) };
        let (hub, name) = (&self.hub, &self.handle.stream);
        let made = || hub.options.smaller.as_ref().and_then(|smaller| smaller(name));
        let again = || hub.options.fit.as_ref().and_then(|fit| fit(name));
        let Some(looked) = rungs.look(now, made, again) else { return Ok(()) };
        self.driver.rtc.bwe().set_desired_bitrate(Bitrate::bps(looked.desired));
        let changed = looked.change.is_some();
        if let Some(going) = looked.change {
            *direct = going.direct;
            self.key_asked = None;
            play.switch(going.stream, going.lanes, going.version, now).map_err(over)?;
            tracing::debug!(stream = name, session = %self.handle.id, rung = looked.rung, "WHEP: another rendition");
        }
        self.stats(|s| {
            (s.rung, s.rungs) = (looked.rung, looked.rungs);
            s.switches += u64::from(changed);
        });
        Ok(())
    }

    fn stats(&self, change: impl FnOnce(&mut SessionStats)) {
        change(&mut self.handle.stats());
    }

    /// Says good-bye, so that the client knows at once.
    async fn farewell(&mut self, inbox: &mut mpsc::Receiver<Datagram>) {
        let end = Instant::now() + FAREWELL;
        if self.driver.rtc.close().is_err() {
            return;
        }
        while self.driver.rtc.is_alive() && Instant::now() < end {
            let Ok(next) = self.driver.poll() else { break };
            self.driver.events.clear();
            self.driver.flush();
            tokio::select! {
                Some(datagram) = inbox.recv() => self.driver.receive(&datagram),
                () = tokio::time::sleep_until(next.min(end).into()) => {
                    if self.driver.rtc.handle_input(Input::Timeout(Instant::now())).is_err() { break }
                }
            }
        }
        self.driver.flush();
    }
}

/// What a session waited for.
enum Woken {
    Command(Command),
    Datagram(Datagram),
    Item(Item),
    Wanted,
    Writable,
    Time,
}

async fn next_item(play: Option<&mut Box<Play>>) -> Item {
    match play {
        Some(play) => play.next().await,
        None => std::future::pending().await,
    }
}

async fn notified(wanted: Option<Arc<Notify>>) {
    match wanted {
        Some(wanted) => wanted.notified().await,
        None => std::future::pending().await,
    }
}

fn over(over: Over) -> Reason {
    match over {
        Over::Ended => "the stream ended".into(),
        Over::Changed(why) => why,
    }
}

/// What str0m put together, in our words.
fn frame(data: MediaData, since: Duration) -> Option<Frame> {
    let spec = data.params.spec();
    let (kind, codec) = match spec.codec {
        RtpCodec::H264 => (Kind::Video, Codec::H264),
        RtpCodec::Vp8 => (Kind::Video, Codec::Vp8),
        RtpCodec::Vp9 => (Kind::Video, Codec::Vp9),
        RtpCodec::Av1 => (Kind::Video, Codec::Av1),
        RtpCodec::Opus => (Kind::Audio, Codec::Opus),
        _ => return None,
    };
    let report = data.last_sender_info.as_ref().map(|s| Report { at: s.ntp_time, rtp: s.rtp_time.numer() });
    Some(Frame {
        kind,
        codec,
        layer: data.rid.map(|r| r.to_string()),
        rtp: data.time.numer(),
        rate: data.time.denom(),
        since,
        report,
        contiguous: data.contiguous,
        key: data.is_keyframe(),
        data: data.data,
    })
}
