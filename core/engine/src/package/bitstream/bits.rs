//! Bits, most significant first: the order of every header here.

use super::damaged;
use crate::Result;

/// Reads bits and Exp-Golomb codes from a byte slice; running off the end is an error.
pub(crate) struct BitReader<'a> {
    data: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        BitReader { data, position: 0 }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.data.len() * 8 - self.position
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        let byte = self.data.get(self.position / 8).ok_or_else(|| damaged("header truncated"))?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Ok(bit == 1)
    }

    /// The next `count` (at most 32) bits as a number.
    pub(crate) fn bits(&mut self, count: u32) -> Result<u32> {
        debug_assert!(count <= 32);
        if (count as usize) > self.remaining() {
            return Err(damaged("header truncated"));
        }
        let mut value = 0u64;
        for _ in 0..count {
            value = value << 1 | u64::from(self.flag()?);
        }
        Ok(value as u32)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        if count > self.remaining() {
            return Err(damaged("header truncated"));
        }
        self.position += count;
        Ok(())
    }

    /// Unsigned Exp-Golomb (`ue(v)`).
    pub(crate) fn ue(&mut self) -> Result<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return Err(damaged("Exp-Golomb code too long"));
            }
        }
        let rest = self.bits(zeros)?;
        Ok(((1u64 << zeros) - 1 + u64::from(rest)) as u32)
    }

    /// As [`BitReader::ue`], refusing values above `max`.
    pub(crate) fn ue_max(&mut self, max: u32, what: &str) -> Result<u32> {
        let value = self.ue()?;
        if value > max {
            return Err(damaged(format!("{what} is {value}, at most {max} is possible")));
        }
        Ok(value)
    }

    /// Signed Exp-Golomb (`se(v)`).
    pub(crate) fn se(&mut self) -> Result<i32> {
        let code = i64::from(self.ue()?);
        Ok((if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) }) as i32)
    }
}

/// Appends bits to bytes.
#[derive(Default)]
pub(crate) struct BitWriter {
    data: Vec<u8>,
    used: u32,
}

impl BitWriter {
    /// Appends the low `count` bits of `value`.
    pub(crate) fn put(&mut self, value: u32, count: u32) -> &mut Self {
        for shift in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.data.push(0);
            }
            if let Some(last) = self.data.last_mut() {
                *last |= ((value >> shift & 1) as u8) << (7 - self.used % 8);
            }
            self.used += 1;
        }
        self
    }

    /// The bytes, the last one filled with zero bits.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes() {
        // 1 | 010 | 011 | 00100 | 1
        let mut r = BitReader::new(&[0b1010_0110, 0b0100_1000]);
        assert_eq!([r.ue().unwrap(), r.ue().unwrap(), r.ue().unwrap(), r.ue().unwrap()], [0, 1, 2, 3]);
        let mut r = BitReader::new(&[0b0100_1100]);
        assert_eq!((r.se().unwrap(), r.se().unwrap()), (1, -1));
        assert!(BitReader::new(&[0; 8]).ue().is_err());
        assert!(BitReader::new(&[]).flag().is_err());
    }

    #[test]
    fn written_bits_read_back() {
        let mut w = BitWriter::default();
        w.put(5, 3).put(0x1ff, 9).put(0, 2);
        let bytes = w.into_bytes();
        let mut r = BitReader::new(&bytes);
        assert_eq!((r.bits(3).unwrap(), r.bits(9).unwrap(), r.bits(4).unwrap()), (5, 0x1ff, 0));
    }
}
