//! What receivers report by RTCP (RFC 3550, 6.4): how much of what was sent has come, and with the sender's own reports how long the way
//! there and back takes.

use crate::live::connections::Way;
use std::time::{Duration, Instant};

/// Packets that have blocks of reports: those of senders, and of receivers alone.
const SENDER: u8 = 200;
const RECEIVER: u8 = 201;
/// Bytes of a block.
const BLOCK: usize = 24;

/// What a receiver says of one source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// The source.
    pub source: u32,
    /// Which part of its packets did not come, 0 to 1, since the report before.
    pub loss: f64,
    /// The middle of the wall clock in the last report of the sender that came; 0 for none.
    pub last: u32,
    /// How long ago that came.
    pub since: Duration,
}

/// The blocks in packets of RTCP that came together. What is cut, or no RTCP, has none.
pub fn blocks(mut data: &[u8]) -> Vec<Block> {
    let mut found = Vec::new();
    while let Some([first, kind, high, low]) = data.first_chunk().copied() {
        let length = 4 * (usize::from(u16::from_be_bytes([high, low])) + 1);
        if first >> 6 != 2 || data.len() < length {
            break;
        }
        let (packet, rest) = data.split_at(length);
        // Behind who speaks, and what a sender says of itself.
        let begin = match kind {
            SENDER => Some(28),
            RECEIVER => Some(8),
            _ => None,
        };
        let all = begin.and_then(|at| packet.get(at..)).unwrap_or_default();
        for block in all.chunks_exact(BLOCK).take(usize::from(first & 31)) {
            let word = |at: usize| {
                block.get(at..at + 4).map_or(0, |b| b.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
            };
            found.push(Block {
                source: word(0),
                loss: f64::from(word(4) >> 24) / 256.0,
                last: word(16),
                since: Duration::from_secs_f64(f64::from(word(20)) / 65_536.0),
            });
        }
        data = rest;
    }
    found
}

/// What a track's receiver is told and tells.
#[derive(Debug, Default)]
pub struct Reports {
    /// The last two reports to it: the middle of the wall clock in them, and when they went out.
    sent: [Option<(u32, Instant)>; 2],
    way: Way,
}

impl Reports {
    /// A report goes out `now`, with this wall clock in it (64 bits, seconds and fractions).
    pub fn sent(&mut self, wall: u64, now: Instant) {
        self.sent = [Some(((wall >> 16) as u32, now)), self.sent[0]];
    }

    /// One came.
    pub fn heard(&mut self, block: &Block, now: Instant) {
        self.way.loss = Some(block.loss);
        let sent = self.sent.iter().flatten().find(|(wall, _)| block.last != 0 && *wall == block.last);
        // FFmpeg (libavformat/rtpdec.c) says how long ago in microseconds, which then is longer than all of it: that says nothing.
        let took = sent.and_then(|(_, at)| now.checked_duration_since(*at)?.checked_sub(block.since));
        self.way.rtt = took.or(self.way.rtt);
    }

    /// What is known.
    pub fn way(&self) -> Way {
        self.way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A block of `source`: a quarter is lost, and 1.5 s have passed since the report with `last` came.
    fn block(source: u32, last: u32) -> Vec<u8> {
        let mut data = source.to_be_bytes().to_vec();
        data.extend([64, 0, 0, 9, 0, 0, 1, 0, 0, 0, 0, 7]);
        data.extend(last.to_be_bytes());
        data.extend((65_536u32 * 3 / 2).to_be_bytes());
        data
    }

    fn packet(kind: u8, count: u8, body: &[u8]) -> Vec<u8> {
        let words = u16::try_from(body.len() / 4).unwrap();
        [&[0x80 | count, kind], &words.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn blocks_are_read_whatever_is_around_them() {
        let receiver = packet(RECEIVER, 2, &[&[0, 0, 0, 1][..], &block(5, 6), &block(7, 0)].concat());
        let words = packet(202, 1, &[0; 12]);
        let sender = packet(SENDER, 1, &[&[0; 24][..], &block(8, 9)].concat());
        let found = blocks(&[&receiver[..], &words, &sender].concat());
        let said = Block { source: 5, loss: 0.25, last: 6, since: Duration::from_millis(1500) };
        let all = [said, Block { source: 7, last: 0, ..said }, Block { source: 8, last: 9, ..said }];
        assert_eq!(found, all);
        // What is promised and not there, cut, of another version, or other media.
        assert_eq!(blocks(&packet(RECEIVER, 31, &[&[0; 4][..], &block(5, 6)].concat())).len(), 1);
        assert_eq!(blocks(&receiver[..receiver.len() - 1]), []);
        assert_eq!(blocks(&[&[0x40][..], &receiver[1..]].concat()), []);
        assert_eq!(blocks(&packet(RECEIVER, 1, &[])), []);
        assert_eq!(blocks(&[]), []);
    }

    #[test]
    fn the_way_is_what_passed_without_what_the_receiver_waited() {
        let began = Instant::now();
        let mut reports = Reports::default();
        let (one, two) = (0x1234_5678_9abc_def0_u64, 0x1234_567d_9abc_def0);
        reports.sent(one, began);
        reports.sent(two, began + Duration::from_secs(5));
        let said = Block { source: 1, loss: 0.5, last: 0x5678_9abc, since: Duration::from_millis(1500) };
        // Of the one before the last.
        reports.heard(&said, began + Duration::from_millis(1540));
        assert_eq!(reports.way(), Way { rtt: Some(Duration::from_millis(40)), loss: Some(0.5) });
        let mut now = began + Duration::from_millis(6520);
        reports.heard(&Block { last: 0x567d_9abc, loss: 0.0, ..said }, now);
        assert_eq!(reports.way(), Way { rtt: Some(Duration::from_millis(20)), loss: Some(0.0) });
        // One that nobody sent, none, and one that waited for longer than there was time.
        now += Duration::from_secs(1);
        for block in [
            Block { last: 7, ..said },
            Block { last: 0, ..said },
            Block { last: 0x567d_9abc, since: Duration::from_secs(9), ..said },
        ] {
            reports.heard(&block, now);
            assert_eq!(reports.way(), Way { rtt: Some(Duration::from_millis(20)), loss: Some(0.5) });
        }
    }
}
