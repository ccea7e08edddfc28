//! A publisher: its transport stream goes through the engine's demuxer into the stream. One thread receives, one publishes.

use super::transport::{Garbage, Part, Watch};
use super::{Connection, End, PROTOCOL, SrtOptions};
use crate::live::pull::PullEncode;
use crate::live::pull::play::{Clock, Play, Step};
use crate::live::pull::source::carried;
use crate::live::registry::{Live, Publication, Publisher};
use crate::live::stream::LinkStats;
use ghoststream::spec::{BytesSpec, Device, PipelineSpec, SourceSpec};
use ghoststream::srt::{Kind, PAYLOAD};
use ghoststream::{ErrorKind, Job};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one wait may take.
const LOOK: Duration = Duration::from_millis(50);
/// How long the engine may take for bytes before they are left out.
const ROOM: Duration = Duration::from_millis(250);
/// How long a demuxer that has ended may take to say why.
const DEAF: Duration = Duration::from_secs(2);
/// How often the connection's figures are noted.
const NOTE: Duration = Duration::from_secs(1);
/// What the demuxer listens to before it says which tracks there are, in microseconds: always so much of a transport stream.
const ANALYSE: u64 = 1_000_000;
/// Demuxers in a row that may find nothing: with [`ANALYSE`], half a minute without a key frame.
const TRIES: u32 = 30;
/// Messages that may wait for the demuxer. The queue counts them by its pieces, of 64 KiB at most.
const MESSAGES: u32 = 2048;

/// What both threads know.
#[derive(Default)]
struct Between {
    /// Nothing more can be published: why.
    over: Mutex<Option<End>>,
    /// The demuxer has ended without having understood anything, or is damaged: why.
    failed: Mutex<Option<String>>,
    /// Something was published by the running demuxer.
    plays: AtomicBool,
}

/// Serves a publisher to its end.
pub(super) fn run(connection: &Connection, live: &Live, options: &SrtOptions, stop: &AtomicBool) -> End {
    let publisher = Publisher::new(PROTOCOL, Some(connection.peer));
    let publication = match live.publish(&connection.stream, publisher) {
        Ok(publication) => publication,
        Err(refused) => return End::Peer(refused.to_string()),
    };
    let between = Between::default();
    let (send, jobs) = channel();
    std::thread::scope(|scope| {
        let publish = || publish(&publication, jobs, &between);
        let thread = std::thread::Builder::new().name("gs-srt-publish".into()).spawn_scoped(scope, publish);
        if let Err(e) = thread {
            return End::Lost(format!("cannot start a thread: {e}"));
        }
        let mut feed =
            Feed { watch: Watch::default(), job: None, jobs: send, tries: 0, left_out: 0, deaf: None };
        let end = receive(connection, &publication, &mut feed, &between, options, stop);
        // The publishing thread takes what has come, and ends.
        feed.finish();
        end
    })
}

/// The receiving side.
struct Feed {
    watch: Watch,
    job: Option<Arc<Job>>,
    jobs: Sender<Play>,
    /// Demuxers in a row that found nothing.
    tries: u32,
    /// Messages that there was no room for.
    left_out: u64,
    /// Since when the demuxer takes nothing more.
    deaf: Option<Instant>,
}

fn receive(
    connection: &Connection,
    publication: &Publication,
    feed: &mut Feed,
    between: &Between,
    options: &SrtOptions,
    stop: &AtomicBool,
) -> End {
    let mut buffer = [0; PAYLOAD];
    let (mut heard, mut noted, mut bytes) = (Instant::now(), Instant::now(), 0);
    while !stop.load(Ordering::SeqCst) {
        if let Some(end) = take(&between.over) {
            return end;
        }
        if noted.elapsed() >= NOTE
            && let Ok(stats) = connection.socket.stats()
        {
            let bits = stats.bytes_received.saturating_sub(bytes) as f64 * 8.0;
            let link = LinkStats {
                rtt_ms: stats.rtt.as_secs_f64() * 1000.0,
                bitrate: bits / noted.elapsed().as_secs_f64(),
                packets: stats.packets_received,
                lost: stats.receive_lost,
                dropped: stats.receive_dropped,
            };
            (noted, bytes) = (Instant::now(), stats.bytes_received);
            if let Err(superseded) = publication.link(link) {
                return End::Peer(superseded.to_string());
            }
        }
        let message = match connection.socket.recv(&mut buffer, LOOK) {
            Ok(0) if heard.elapsed() >= options.silence => {
                return End::Peer(format!("nothing for {} s", options.silence.as_secs()));
            }
            Ok(0) => continue,
            Ok(length) => &buffer[..length.min(PAYLOAD)],
            Err(e) if e.kind == Kind::Closed => return End::Gone,
            Err(e) => return End::Lost(e.to_string()),
        };
        heard = Instant::now();
        if let Some(why) = take(&between.failed)
            && let Err(end) = feed.failed(why, between)
        {
            return end;
        }
        let parts = match feed.watch.take(message) {
            Ok(parts) => parts,
            Err(Garbage) => return End::Peer("this is no MPEG transport stream".into()),
        };
        for part in parts {
            let done = match part {
                Part::Packets(packets) => feed.packets(&packets, publication.stream().name(), between),
                Part::Change => {
                    tracing::info!(
                        stream = publication.stream().name(),
                        "the transport stream has other codecs"
                    );
                    feed.finish();
                    Ok(())
                }
            };
            if let Err(end) = done {
                return end;
            }
        }
    }
    End::Gone
}

impl Feed {
    /// Gives packets to the demuxer that runs, or to a new one.
    fn packets(&mut self, packets: &[u8], stream: &str, between: &Between) -> Result<(), End> {
        let job = match &self.job {
            Some(job) => job,
            None => {
                let play = Play::fed(document(stream)).map_err(|e| End::Lost(e.message().into()))?;
                let job = play.job().clone();
                // The other thread has ended: it has said why.
                let _over = self.jobs.send(play);
                self.job.insert(job)
            }
        };
        match job.write_within(packets, Some(ROOM)) {
            Ok(taken) if taken < packets.len() => {
                self.left_out += 1;
                if self.left_out.is_power_of_two() {
                    tracing::warn!(stream, messages = self.left_out, "left out: the engine cannot keep up");
                }
            }
            Ok(_) => {}
            // It has ended, and is about to say why, unless it took something for the end.
            Err(e) if e.kind() == ErrorKind::State => {
                if self.deaf.get_or_insert_with(Instant::now).elapsed() > DEAF {
                    return self.failed("the demuxer has ended".into(), between);
                }
            }
            Err(e) => return Err(End::Lost(e.message().into())),
        }
        Ok(())
    }

    /// A demuxer has failed: another one begins with what comes now, so long as there is hope.
    fn failed(&mut self, why: String, between: &Between) -> Result<(), End> {
        self.finish();
        self.tries = if between.plays.swap(false, Ordering::SeqCst) { 1 } else { self.tries + 1 };
        if self.tries >= TRIES { Err(End::Peer(why)) } else { Ok(()) }
    }

    /// Ends the demuxer's input.
    fn finish(&mut self) {
        self.deaf = None;
        if let Some(job) = self.job.take() {
            job.finish_input();
        }
    }
}

/// The publishing side: one demuxer after the other.
fn publish(publication: &Publication, jobs: Receiver<Play>, between: &Between) {
    let mut clock = Clock::new();
    while let Ok(mut play) = jobs.recv() {
        loop {
            match play.step(publication, &mut clock, LOOK) {
                Ok(Step::Packet) => between.plays.store(true, Ordering::SeqCst),
                Ok(Step::Nothing) => {}
                Ok(Step::Ended { kind: None, .. }) => break,
                Ok(Step::Ended { why, kind: Some(_) }) => {
                    tracing::debug!(stream = publication.stream().name(), "demuxer: {why}");
                    put(&between.failed, why);
                    break;
                }
                Err(superseded) => {
                    put(&between.over, End::Peer(superseded.to_string()));
                    return;
                }
            }
        }
    }
}

fn put<T>(place: &Mutex<Option<T>>, value: T) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
}

fn take<T>(place: &Mutex<Option<T>>) -> Option<T> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn document(stream: &str) -> PipelineSpec {
    let mut source = SourceSpec {
        bytes: Some(BytesSpec { buffer: MESSAGES * (64 << 10) }),
        format: Some("mpegts".into()),
        // Who says nothing for long is seen elsewhere.
        timeout: 0.0,
        ..SourceSpec::default()
    };
    source.options.insert("analyzeduration".into(), ANALYSE.to_string());
    let encode = PullEncode { device: Device::Auto, ..PullEncode::default() };
    let mut document = carried(source, &encode, true);
    document.name = Some(format!("srt {stream}"));
    document
}
