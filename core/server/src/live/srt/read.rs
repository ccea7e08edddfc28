//! A reader: the stream as an MPEG transport stream, in messages of seven packets at most.

use super::{Connection, End, PROTOCOL};
use crate::live::registry::Live;
use crate::live::stream::{Item, Start, Tracks};
use ghoststream::package::cmaf::Sample;
use ghoststream::package::{Track, ts};
use ghoststream::packet::{MediaKind, Packet};
use ghoststream::srt::{Kind, PAYLOAD, Socket};
use ghoststream::time::{Rounding, TimeBase, rescale};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long one wait for the stream may take.
const LOOK: Duration = Duration::from_millis(50);
/// How long a reader waits for the next publisher.
const AWAY: Duration = Duration::from_secs(10);
/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last of a stream may take.
const DRAIN: Duration = Duration::from_secs(2);
/// Ticks of 90 kHz after which the tables come again.
const TABLES: i64 = 18_000;
const CLOCK: u32 = 90_000;
const BASE: TimeBase = TimeBase::new(1, CLOCK as i32);

/// Serves a reader to its end.
pub(super) fn run(connection: &Connection, live: &Live, stop: &AtomicBool) -> End {
    let Some(stream) = live.get(&connection.stream) else { return End::Peer("the stream is gone".into()) };
    let _watching = live.watching(&connection.stream, PROTOCOL, Some(connection.peer));
    let mut reader = stream.subscribe(Start::Group);
    let mut away = stream.tracks().is_none().then(Instant::now);
    let (mut writer, mut version) = (None, 0);
    while !stop.load(Ordering::SeqCst) {
        if !connection.socket.is_connected() {
            return End::Gone;
        }
        if away.is_some_and(|since| since.elapsed() >= AWAY) {
            return End::Peer(format!("nobody has published for {} s", AWAY.as_secs()));
        }
        connection.dropped.store(reader.dropped(), Ordering::Relaxed);
        let sent = match reader.next_blocking(LOOK) {
            None => Ok(()),
            Some(Item::Tracks(tracks)) => match Writer::new(&tracks, version) {
                Ok(new) => {
                    (writer, away) = (Some(new), None);
                    version = (version + 1) & 31;
                    Ok(())
                }
                Err(why) => return End::Peer(why),
            },
            Some(Item::Packet(packet)) => match &mut writer {
                Some(writer) => writer.write(&packet, &connection.socket),
                None => Ok(()),
            },
            Some(Item::Away) => {
                (writer, away) = (None, Some(Instant::now()));
                Ok(())
            }
            Some(Item::End) => {
                // What does not reach it in time is not worth more waiting.
                let _late = connection.socket.drain(DRAIN);
                return End::Gone;
            }
        };
        if let Err(end) = sent {
            return end;
        }
    }
    End::Gone
}

/// Makes a transport stream of a stream.
struct Writer {
    muxer: ts::Muxer,
    /// For each track of the stream, which it is in the muxer.
    places: Vec<Option<usize>>,
    /// The track with the pictures: its key frames have tables in front.
    pictures: Option<usize>,
    /// When there were tables.
    tables: Option<i64>,
}

impl Writer {
    /// For what of `tracks` a transport stream can carry.
    fn new(tracks: &Tracks, version: u8) -> Result<Writer, String> {
        let (mut carried, mut places) = (Vec::<Track>::new(), Vec::new());
        let mut why = String::from("there is nothing in the stream");
        for info in &tracks.streams {
            let known =
                info.kind != MediaKind::Video || carried.iter().all(|t| t.info.kind != MediaKind::Video);
            let track =
                Track::new(info, None).and_then(|track| ts::Muxer::new(vec![track.clone()]).map(|_| track));
            places.push(match track {
                // Of a ladder a reader gets the largest rung, which is the first.
                Ok(mut track) if known => {
                    (track.timescale, track.priming) = (CLOCK, 0);
                    carried.push(track);
                    Some(carried.len() - 1)
                }
                Ok(_) => None,
                Err(e) => {
                    why = e.message().into();
                    None
                }
            });
        }
        if carried.is_empty() {
            return Err(format!("MPEG-TS cannot carry the stream: {why}"));
        }
        let pictures = carried.iter().position(|t| t.info.kind == MediaKind::Video);
        let muxer = ts::Muxer::new(carried).map_err(|e| e.message().to_string())?.version(version);
        Ok(Writer { muxer, places, pictures, tables: None })
    }

    fn write(&mut self, packet: &Packet, socket: &Socket) -> Result<(), End> {
        let Some(place) = self.places.get(packet.stream).copied().flatten() else { return Ok(()) };
        let ticks = |t: i64| rescale(t, packet.base, BASE, Rounding::Nearest);
        let Some(decode) = packet.dts.or(packet.pts).map(ticks) else { return Ok(()) };
        let later = packet.pts.map_or(0, |pts| ticks(pts) - decode);
        let sample = Sample {
            data: packet.data.clone(),
            decode,
            offset: i32::try_from(later).unwrap_or(0),
            duration: u32::try_from(ticks(packet.duration)).unwrap_or(0),
            key: packet.key,
        };
        let old = self.tables.is_none_or(|at| (decode - at).abs() >= TABLES);
        let tables = old || (packet.key && self.pictures == Some(place));
        if tables {
            self.tables = Some(decode);
        }
        // One packet that is damaged is one picture that is missing.
        let Ok(bytes) = self.muxer.sample(place, &sample, tables) else { return Ok(()) };
        bytes.chunks(PAYLOAD).try_for_each(|message| send(message, socket))
    }
}

/// Sends a message. libsrt gives up what is too old for the reader, and counts it, but only when it is called anew.
fn send(message: &[u8], socket: &Socket) -> Result<(), End> {
    let begin = Instant::now();
    loop {
        match socket.send(message, LOOK) {
            Ok(()) => return Ok(()),
            Err(e) => match e.kind {
                Kind::Closed => return Err(End::Gone),
                Kind::TimedOut if begin.elapsed() < PATIENCE => {}
                Kind::TimedOut => {
                    return Err(End::Peer(format!("takes nothing for {} s", PATIENCE.as_secs())));
                }
                _ => return Err(End::Lost(e.to_string())),
            },
        }
    }
}
