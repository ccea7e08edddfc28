//! What only x264 says.

use crate::packet::Packet;
use std::collections::VecDeque;

/// Brings x264's quantisers to their pictures. With a packet it tells the quantiser of the picture that it has just begun, which
/// is as many pictures later, in the order of coding, as it has threads besides the first: those of its first pictures it tells
/// with none.
#[derive(Debug, Default)]
pub(super) struct Quantisers {
    /// How many pictures it is ahead; `None` before its first packet.
    ahead: Option<Ahead>,
    told: VecDeque<Option<f32>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ahead {
    Pictures(usize),
    /// It did not say how many threads it has.
    Unknown,
}

impl Quantisers {
    /// Gives `packet`, the next one, the quantiser of its own picture; none where it was not told. The stream's headers are
    /// `extradata`.
    pub fn sort(&mut self, packet: &mut Packet, extradata: &[u8]) {
        let ahead = *self.ahead.get_or_insert_with(|| {
            // Its options stand in a message in front of its first picture.
            let found = [&packet.data[..], extradata].into_iter().find_map(ahead);
            found.map_or(Ahead::Unknown, Ahead::Pictures)
        });
        let Some(coding) = &mut packet.coding else { return };
        let Ahead::Pictures(ahead) = ahead else {
            coding.qp = None;
            return;
        };
        self.told.push_back(coding.qp);
        coding.qp = if self.told.len() > ahead { self.told.pop_front().flatten() } else { None };
    }
}

/// How many pictures are begun before one comes out, of the message with x264's options.
fn ahead(data: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"x264 - core ";
    let start = data.windows(NAME.len()).position(|w| w == NAME)?;
    let options = data[start..].split(|b| *b == b' ' || *b == 0);
    let value = |name: &str| {
        let found = options.clone().find_map(|o| o.strip_prefix(name.as_bytes()));
        found.and_then(|v| std::str::from_utf8(v).ok()?.parse::<usize>().ok())
    };
    // Threads that work on parts of one picture are not ahead.
    let threads = if value("sliced_threads=")? == 0 { value("threads=")? } else { 1 };
    threads.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Coding, PictureType};
    use crate::time::Rational;

    #[test]
    fn options_say_how_far_it_is_ahead() {
        let message = |options: &str| {
            let mut data = b"\0\0\0\x01\x06\x05\xff\x99x264 - core 164 r3095 baee400 - H.264/MPEG-4 AVC codec - options: cabac=1 ".to_vec();
            data.extend_from_slice(options.as_bytes());
            data.extend_from_slice(b" nr=0 aq=1:1.00\0\x80\0\0\x01\x65");
            data
        };
        assert_eq!(ahead(&message("threads=3 lookahead_threads=1 sliced_threads=0")), Some(2));
        assert_eq!(ahead(&message("threads=1 lookahead_threads=1 sliced_threads=0")), Some(0));
        assert_eq!(ahead(&message("threads=4 lookahead_threads=4 sliced_threads=1 slices=4")), Some(0));
        assert_eq!(ahead(b"\0\0\x01\x65 threads=3 sliced_threads=0"), None);
    }

    #[test]
    fn without_them_no_quantiser_is_told() {
        let mut packet = Packet::new(b"\0\0\x01\x65".to_vec().into(), 0, 1, Rational::new(1, 25));
        packet.coding = Some(Coding { kind: PictureType::I, qp: Some(30.0), gpu_time: None });
        Quantisers::default().sort(&mut packet, &[]);
        assert_eq!(packet.coding.map(|c| c.qp), Some(None));
    }
}
