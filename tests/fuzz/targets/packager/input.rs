//! Bytes as numbers and slices. What is missing at the end is zero, so that every input is a run of the segmenter.

use ghoststream::Codec;

/// Codecs by the number that stands for them in an input; `corpus.py` has the same list.
pub const CODECS: &[Codec] = &[
    Codec::H264,
    Codec::Hevc,
    Codec::Av1,
    Codec::Vp9,
    Codec::Aac,
    Codec::Opus,
    Codec::Flac,
    Codec::Ac3,
    Codec::Eac3,
    Codec::Mp3,
    Codec::Vp8,
];

pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn slice(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let taken = self.slice(N);
        out[..taken.len()].copy_from_slice(taken);
        out
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.bytes())
    }

    pub fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes())
    }

    pub fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.bytes())
    }
}
