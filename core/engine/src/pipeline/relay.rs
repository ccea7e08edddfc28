//! Rungs that are no longer encoded and go on with the packets of the next one: what an overloaded machine does for those
//! who watch the largest.

use super::resolve::{Make, Resolved};
use crate::packet::{Codec, Packet, StreamInfo};
use crate::time::Timestamp;
use bytes::BytesMut;
use std::collections::VecDeque;

/// The position of the track that can go on for the one at `position` of `output`: the next one that the same encoder makes
/// of the same stream. `None` where nothing can: an output without segments has one configuration to its end.
pub(super) fn successor(resolved: &Resolved, output: usize, position: usize) -> Option<usize> {
    let this = resolved.outputs.get(output)?;
    let track = this.tracks.get(position)?;
    let Make::Video(video) = &track.make else { return None };
    let tracks = resolved.outputs.iter().flat_map(|o| &o.tracks);
    let shared =
        tracks.into_iter().any(|t| matches!(&t.make, Make::Shared(s) if s.with == (output, position)));
    if shared || video.spec.two_pass || !this.container.is_some_and(|c| c.is_segmented()) {
        return None;
    }
    let fits = |make: &Make| matches!(make, Make::Video(v) if v.encoder.name == video.encoder.name);
    let mut later = this.tracks.iter().enumerate().skip(position + 1);
    later.find(|(_, t)| t.stream == track.stream && fits(&t.make)).map(|(at, _)| at)
}

/// The relays of one output.
#[derive(Default)]
pub(super) struct Relays(Vec<Relay>);

struct Relay {
    track: usize,
    successor: usize,
    state: State,
}

enum State {
    /// The track is still encoded; these are its successor's packets since it was told.
    Leaving(VecDeque<Packet>),
    /// It begins with the successor's first key packet that is shown then or later.
    From(Timestamp),
    /// It has every packet of its successor.
    On,
}

impl Relays {
    /// `track` will leave its place to `successor`.
    pub fn leaving(&mut self, track: usize, successor: usize) {
        if !self.0.iter().any(|r| r.track == track) {
            self.0.push(Relay { track, successor, state: State::Leaving(VecDeque::new()) });
        }
    }

    /// The encoder of `track` made nothing that is shown at `at` or later. Gives what its successor has for it already.
    pub fn left(&mut self, track: usize, at: Timestamp) -> Vec<Packet> {
        let Some(relay) = self.0.iter_mut().find(|r| r.track == track) else { return Vec::new() };
        let State::Leaving(kept) = std::mem::replace(&mut relay.state, State::From(at)) else {
            return Vec::new();
        };
        kept.into_iter().filter(|packet| relay.state.takes(packet)).collect()
    }

    /// The tracks that get `packet` of `source` too.
    pub fn passed(&mut self, source: usize, packet: &Packet) -> Vec<usize> {
        let mut to = Vec::new();
        for relay in self.0.iter_mut().filter(|r| r.successor == source) {
            match &mut relay.state {
                State::Leaving(kept) => kept.push_back(packet.clone()),
                state => to.extend(state.takes(packet).then_some(relay.track)),
            }
        }
        to
    }

    /// `track` ended by itself before it left: nobody goes on for it.
    pub fn stays(&mut self, track: usize) {
        self.0.retain(|r| r.track != track || !matches!(r.state, State::Leaving(_)));
    }

    /// Whose packets `track` has now.
    pub fn source(&self, track: usize) -> Option<usize> {
        let relay = self.0.iter().find(|r| r.track == track)?;
        (!matches!(relay.state, State::Leaving(_))).then_some(relay.successor)
    }
}

impl State {
    fn takes(&mut self, packet: &Packet) -> bool {
        if let State::From(at) = self
            && packet.key
            && packet.presentation().is_some_and(|t| t >= *at)
        {
            *self = State::On;
        }
        matches!(self, State::On)
    }
}

/// `packet` of `stream` for a track that was announced with other parameter sets: key packets carry their own.
pub(super) fn with_sets(mut packet: Packet, stream: Option<&StreamInfo>) -> Packet {
    let Some(stream) = stream.filter(|s| packet.key && matches!(s.codec, Codec::H264 | Codec::Hevc)) else {
        return packet;
    };
    let mut data = BytesMut::with_capacity(stream.extradata.len() + packet.data.len());
    data.extend_from_slice(&stream.extradata);
    data.extend_from_slice(&packet.data);
    packet.data = data.freeze();
    packet
}
