//! What a session has seen.

use serde::Serialize;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};
use str0m::Event;

/// One WHIP or WHEP session, as it is now. Counters count from its begin; rates and losses are of the last second.
#[derive(Clone, Debug, Serialize)]
pub struct SessionStats {
    /// Its id, the last word of its URL.
    pub id: String,
    /// The stream's name.
    pub stream: String,
    /// `whip` or `whep`.
    pub protocol: &'static str,
    /// The client's address for media, once it is known.
    pub peer: Option<SocketAddr>,
    /// Whether media can flow.
    pub connected: bool,
    /// When it began.
    pub since: SystemTime,
    /// Round trip, in milliseconds: by feedback of packets, else by reports. None where the client tells neither.
    pub rtt_ms: Option<f64>,
    /// Part of the packets that were lost on the way, 0 to 1.
    pub loss: Option<f32>,
    /// Bytes from the client, with everything.
    pub bytes_in: u64,
    /// Bytes to the client, with everything.
    pub bytes_out: u64,
    /// Packets of media from the client.
    pub packets_in: u64,
    /// Packets of media to the client, with those sent again.
    pub packets_out: u64,
    /// Packets asked for again, by whoever receives.
    pub nacks: u64,
    /// Key frames asked for: by this server of a publisher, by a viewer of this server.
    pub key_frame_requests: u64,
    /// Frames that came and were not published, or were not sent because the client could not follow.
    pub dropped: u64,
    /// Bits a second that the way to a viewer has, as far as is known.
    pub estimate: Option<u64>,
    /// Which rendition a viewer gets: 0 is the stream as it is, the next ones are smaller.
    pub rung: usize,
    /// How many there are; smaller ones are made while somebody needs them.
    pub rungs: usize,
    /// How often a viewer was given another one.
    pub switches: u64,
    #[serde(skip)]
    per_lane: Vec<(String, u64, u64, u64)>,
    /// Whether the round trip is of packets' feedback.
    #[serde(skip)]
    is_measured: bool,
}

impl SessionStats {
    pub(in crate::live) fn new(id: String, stream: String, protocol: &'static str) -> SessionStats {
        SessionStats {
            id,
            stream,
            protocol,
            peer: None,
            connected: false,
            since: SystemTime::now(),
            rtt_ms: None,
            loss: None,
            bytes_in: 0,
            bytes_out: 0,
            packets_in: 0,
            packets_out: 0,
            nacks: 0,
            key_frame_requests: 0,
            dropped: 0,
            estimate: None,
            rung: 0,
            rungs: 1,
            switches: 0,
            per_lane: Vec::new(),
            is_measured: false,
        }
    }

    /// Takes what str0m says about the session, once a second.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::PeerStats(s) => {
                (self.bytes_in, self.bytes_out) = (s.peer_bytes_rx, s.peer_bytes_tx);
                let rtt =
                    s.rtt.or(s.selected_candidate_pair.as_ref().and_then(|p| p.current_round_trip_time));
                self.is_measured |= rtt.is_some();
                self.went_round(rtt, self.is_measured);
                self.loss =
                    if self.protocol == "whip" { s.ingress_loss_fraction } else { s.egress_loss_fraction };
            }
            Event::MediaIngressStats(s) => {
                let lane = format!("{}{:?}", s.mid, s.rid);
                self.lane(lane, s.packets, s.nacks, 0);
                self.packets_in = self.per_lane.iter().map(|l| l.1).sum();
                self.went_round(s.rtt, !self.is_measured);
            }
            Event::MediaEgressStats(s) => {
                let lane = format!("{}{:?}", s.mid, s.rid);
                self.lane(lane, s.packets, s.nacks, s.plis + s.firs);
                self.packets_out = self.per_lane.iter().map(|l| l.1).sum();
                self.went_round(s.rtt, !self.is_measured);
                self.key_frame_requests = self.per_lane.iter().map(|l| l.3).sum();
            }
            _ => return,
        }
        self.nacks = self.per_lane.iter().map(|l| l.2).sum();
    }

    /// Takes a round trip, if it `counts`: what reports tell does where feedback of each packet never told.
    fn went_round(&mut self, trip: Option<Duration>, counts: bool) {
        self.rtt_ms = trip.filter(|_| counts).map(|t| t.as_secs_f64() * 1e3).or(self.rtt_ms);
    }

    fn lane(&mut self, name: String, packets: u64, nacks: u64, keys: u64) {
        self.per_lane.retain(|l| l.0 != name);
        self.per_lane.push((name, packets, nacks, keys));
    }
}
