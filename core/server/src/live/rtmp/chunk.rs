//! RTMP's chunk stream (Adobe's specification 1.0, section 5.3): messages cut into chunks and interleaved. Sans-IO.
//!
//! Not the protocol crate's: its decoder reserves what a message's header announces on each of 65,599 chunk streams,
//! which one stranger can use to end the process, and its encoder writes wrong times from 4 h 39 min on.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::collections::HashMap;

/// The longest message that is taken, in bytes: a key frame of 4K at 400 Mbit/s has a tenth of it.
pub const MESSAGE: usize = 16 << 20;
/// Bytes of unfinished messages over all chunk streams.
const UNFINISHED: usize = 20 << 20;
/// Chunk streams of one connection; encoders use four to eight.
const LANES: usize = 64;
/// From this time on, in milliseconds, it is written behind the header.
const EXTENDED: u32 = 0xff_ffff;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Message type id.
    pub kind: u8,
    /// Message stream id.
    pub stream: u32,
    /// Milliseconds; wraps at 2³².
    pub timestamp: u32,
    /// The body.
    pub payload: Bytes,
}

/// What the bytes of a peer break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A message is longer than [`MESSAGE`].
    Long(usize),
    /// More unfinished messages than are kept.
    Unfinished,
    /// More chunk streams than are kept.
    Lanes,
    /// A chunk refers to a chunk stream that has not begun.
    Lane(u32),
    /// A chunk size of 0.
    Size,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Long(size) => write!(f, "a message of {size} bytes; at most {MESSAGE} are taken"),
            Broken::Unfinished => write!(f, "unfinished messages of more than {UNFINISHED} bytes"),
            Broken::Lanes => write!(f, "more than {LANES} chunk streams"),
            Broken::Lane(id) => write!(f, "chunk stream {id} goes on before it began"),
            Broken::Size => f.write_str("a chunk size of 0"),
        }
    }
}

#[derive(Debug, Default)]
struct Lane {
    kind: u8,
    stream: u32,
    length: usize,
    timestamp: u32,
    /// The last time field: an absolute time or a step; a header without one repeats it.
    field: u32,
    extended: bool,
    body: BytesMut,
}

/// Puts messages together.
#[derive(Debug)]
pub struct Decoder {
    size: usize,
    lanes: HashMap<u32, Lane>,
    unfinished: usize,
}

impl Decoder {
    /// With chunks of 128 bytes, until the peer says otherwise.
    pub fn new() -> Decoder {
        Decoder { size: 128, lanes: HashMap::new(), unfinished: 0 }
    }

    /// The peer's chunks have `size` bytes from now on.
    ///
    /// # Errors
    /// [`Broken::Size`].
    pub fn set_size(&mut self, size: u32) -> Result<(), Broken> {
        if size == 0 {
            return Err(Broken::Size);
        }
        self.size = (size as usize).min(MESSAGE);
        Ok(())
    }

    /// The peer gives the unfinished message of `lane` up.
    pub fn abort(&mut self, lane: u32) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            self.unfinished -= lane.body.len();
            lane.body.clear();
        }
    }

    /// The next whole message of `data`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Broken`]: nothing behind it can be understood.
    pub fn next(&mut self, data: &mut BytesMut) -> Result<Option<Message>, Broken> {
        loop {
            let before = data.len();
            if let Some(message) = self.chunk(data)? {
                return Ok(Some(message));
            }
            if data.len() == before {
                return Ok(None);
            }
        }
    }

    /// Takes one whole chunk, or nothing.
    fn chunk(&mut self, data: &mut BytesMut) -> Result<Option<Message>, Broken> {
        let mut head = &data[..];
        let Some(first) = byte(&mut head) else { return Ok(None) };
        let id = match first & 0x3f {
            0 => match byte(&mut head) {
                Some(low) => 64 + u32::from(low),
                None => return Ok(None),
            },
            1 if head.len() < 2 => return Ok(None),
            1 => 64 + u32::from(head.get_u16_le()),
            id => u32::from(id),
        };
        let format = first >> 6;
        if head.len() < [11, 7, 3, 0][usize::from(format)] {
            return Ok(None);
        }
        if !self.lanes.contains_key(&id) {
            if format != 0 {
                // Some encoders begin with a header that leaves the stream out (librtmp); the rest need an earlier one.
                if format != 1 {
                    return Err(Broken::Lane(id));
                }
            }
            if self.lanes.len() >= LANES {
                return Err(Broken::Lanes);
            }
        }
        let lane = self.lanes.entry(id).or_default();
        let goes_on = !lane.body.is_empty();
        let (mut field, mut length, mut kind, mut stream) = (lane.field, lane.length, lane.kind, lane.stream);
        if format < 3 {
            field = u24(&mut head);
        }
        if format < 2 {
            length = u24(&mut head) as usize;
            kind = head.get_u8();
        }
        if format == 0 {
            stream = head.get_u32_le();
        }
        let mut extended = if format < 3 { field == EXTENDED } else { lane.extended };
        if extended {
            if head.len() < 4 {
                return Ok(None);
            }
            let value = (&head[..4]).get_u32();
            // Old encoders leave it out of a message's further chunks.
            if format < 3 || !goes_on || value == lane.field {
                head.advance(4);
                field = value;
            } else {
                extended = lane.extended;
            }
        }
        if length > MESSAGE {
            return Err(Broken::Long(length));
        }
        // A new header in the middle of a message gives the old one up.
        let goes_on = goes_on && format == 3;
        let have = if goes_on { lane.body.len() } else { 0 };
        let take = (length - have).min(self.size);
        if head.len() < take {
            return Ok(None);
        }
        if !goes_on {
            self.unfinished -= lane.body.len();
            lane.body.clear();
            lane.timestamp = if format == 0 { field } else { lane.timestamp.wrapping_add(field) };
        }
        (lane.field, lane.length, lane.kind, lane.stream, lane.extended) =
            (field, length, kind, stream, extended);
        lane.body.extend_from_slice(&head[..take]);
        self.unfinished += take;
        let used = data.len() - head.len() + take;
        data.advance(used);
        if self.unfinished > UNFINISHED {
            return Err(Broken::Unfinished);
        }
        if lane.body.len() < length {
            return Ok(None);
        }
        self.unfinished -= length;
        let payload = std::mem::take(&mut lane.body).freeze();
        Ok(Some(Message { kind, stream, timestamp: lane.timestamp, payload }))
    }
}

fn byte(data: &mut &[u8]) -> Option<u8> {
    let first = *data.first()?;
    data.advance(1);
    Some(first)
}

fn u24(data: &mut &[u8]) -> u32 {
    let value = u32::from_be_bytes([0, data[0], data[1], data[2]]);
    data.advance(3);
    value
}

/// Writes `message` on chunk stream `lane` (2 to 63) with chunks of `size` bytes. Every message has a whole header: it
/// costs at most 8 bytes and leaves nothing to be understood differently.
pub fn encode(message: &Message, lane: u8, size: usize, out: &mut BytesMut) {
    let extended = message.timestamp >= EXTENDED;
    out.reserve(message.payload.len() + 16 + message.payload.len() / size.max(1) * 5);
    out.put_u8(lane & 0x3f);
    out.put_uint(u64::from(message.timestamp.min(EXTENDED)), 3);
    out.put_uint(message.payload.len() as u64 & 0xff_ffff, 3);
    out.put_u8(message.kind);
    out.put_u32_le(message.stream);
    for (index, part) in message.payload.chunks(size.max(1)).enumerate() {
        if index > 0 {
            out.put_u8(0xc0 | lane & 0x3f);
        }
        if extended {
            out.put_u32(message.timestamp);
        }
        out.put_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(timestamp: u32, length: usize) -> Message {
        let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
        Message { kind: 9, stream: 1, timestamp, payload: payload.into() }
    }

    #[test]
    fn what_is_written_is_read_whatever_the_pieces() {
        for timestamp in [0, 5, EXTENDED - 1, EXTENDED, EXTENDED + 1, u32::MAX] {
            for length in [1, 127, 128, 129, 5000] {
                let (a, b) = (message(timestamp, length), message(timestamp.wrapping_add(40), 3));
                let mut all = BytesMut::new();
                encode(&a, 6, 128, &mut all);
                encode(&b, 4, 128, &mut all);
                for piece in [1, 7, 100_000] {
                    let (mut decoder, mut have, mut got) = (Decoder::new(), BytesMut::new(), Vec::new());
                    for part in all.chunks(piece) {
                        have.extend_from_slice(part);
                        while let Some(m) = decoder.next(&mut have).unwrap() {
                            got.push(m);
                        }
                    }
                    assert_eq!(got, [a.clone(), b.clone()]);
                    assert_eq!(decoder.unfinished, 0);
                }
            }
        }
    }

    #[test]
    fn short_headers_repeat_the_step() {
        let mut data = BytesMut::new();
        // Type 0 at 1000, type 1 with a step of 20, type 2 with 30, type 3 repeating 30.
        data.extend_from_slice(&[4, 0, 3, 0xe8, 0, 0, 1, 8, 1, 0, 0, 0, 0xaa]);
        data.extend_from_slice(&[0x44, 0, 0, 20, 0, 0, 2, 8, 1, 2]);
        data.extend_from_slice(&[0x84, 0, 0, 30, 3, 4]);
        data.extend_from_slice(&[0xc4, 5, 6]);
        let mut decoder = Decoder::new();
        let mut times = Vec::new();
        while let Some(m) = decoder.next(&mut data).unwrap() {
            times.push((m.timestamp, m.payload.len(), m.stream));
        }
        assert_eq!(times, [(1000, 1, 1), (1020, 2, 1), (1050, 2, 1), (1080, 2, 1)]);
    }

    #[test]
    fn what_a_stranger_can_ask_for_is_bounded() {
        let begin = |lane: u8, length: u32| {
            let mut data = BytesMut::new();
            data.put_slice(&[0, lane, 0, 0, 0]);
            data.put_uint(u64::from(length), 3);
            data.put_slice(&[9, 1, 0, 0, 0]);
            data.put_bytes(0, (length as usize).min(128));
            data
        };
        let mut decoder = Decoder::new();
        assert_eq!(decoder.next(&mut begin(0, MESSAGE as u32 - 1)), Ok(None));
        // A message's length does not take its memory.
        assert!(decoder.lanes[&64].body.capacity() < 4096);
        assert_eq!(Decoder::new().next(&mut begin(0, 0xff_ffff + 1 - 1)), Ok(None));
        let mut decoder = Decoder::new();
        for lane in 0..LANES as u8 {
            assert_eq!(decoder.next(&mut begin(lane, 1000)), Ok(None));
        }
        assert_eq!(decoder.next(&mut begin(200, 1000)), Err(Broken::Lanes));
        assert_eq!(Decoder::new().next(&mut BytesMut::from(&[0xc4_u8, 0][..])), Err(Broken::Lane(4)));
        assert_eq!(Decoder::new().set_size(0), Err(Broken::Size));
    }

    #[test]
    fn any_bytes_are_refused_or_understood() {
        let mut seed = 7_u32;
        for _ in 0..2000 {
            let mut data = BytesMut::new();
            for _ in 0..200 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                data.put_u8((seed >> 24) as u8);
            }
            let mut decoder = Decoder::new();
            while let Ok(Some(_)) = decoder.next(&mut data) {}
        }
    }
}
