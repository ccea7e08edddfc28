//! The words of a subtitle file beside a source that is played again: they begin again with it.

use super::worker::ToMux;
use crate::link::Sender;
use crate::packet::Packet;
use crate::time::{MICROSECONDS, Rounding, Timestamp, rescale};

/// The cues of a file, sent as the source comes to them.
pub(crate) struct Words {
    /// In the order in which they are shown, without those behind the output's end.
    packets: Vec<Packet>,
    next: usize,
    mux: Sender<ToMux>,
    track: usize,
}

impl Words {
    /// `packets` for track `track` of an output.
    pub fn new(mut packets: Vec<Packet>, mux: Sender<ToMux>, track: usize) -> Self {
        packets.sort_by_key(|packet| packet.presentation().map(Timestamp::micros));
        Words { packets, next: 0, mux, track }
    }

    /// Sends what begins before `reached`, of a round that began at `round` (both in microseconds of the output), cut at
    /// `end`: the output's, or the round's.
    pub fn send(&mut self, round: i64, reached: i64, end: Option<Timestamp>) {
        while let Some(packet) = self.packets.get(self.next) {
            let shift = rescale(round, MICROSECONDS, packet.base, Rounding::Nearest);
            let mut packet = packet.clone();
            packet.pts = packet.pts.map(|t| t.saturating_add(shift));
            packet.dts = packet.dts.map(|t| t.saturating_add(shift));
            let Some(start) = packet.presentation().filter(|start| start.micros() <= reached) else { return };
            self.next += 1;
            if let Some(end) = end {
                packet.duration = packet.duration.min(end.to(packet.base).ticks - start.ticks);
                if packet.duration <= 0 {
                    continue;
                }
            }
            // An output that is gone needs no words.
            let _ = self.mux.send(ToMux::Packet(self.track, packet));
        }
    }

    /// Begins again with the source: what it did not come to is left out.
    pub fn again(&mut self) {
        self.next = 0;
    }

    /// There are no more.
    pub fn end(&self) {
        let _ = self.mux.send(ToMux::End(self.track));
    }
}
