//! NAL units of H.264 and HEVC in their two framings: start codes (Annex B) and length prefixes (ISO 15444/14496-15).

use super::damaged;
use crate::Result;

/// How the NAL units of a packet are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Start codes.
    AnnexB,
    /// Big-endian lengths of this many bytes (1 to 4).
    Length(u8),
}

impl Framing {
    /// The NAL units of `data`, without their delimiters. A length that runs past the end is an error.
    pub fn units(self, data: &[u8]) -> Result<Vec<&[u8]>> {
        match self {
            Framing::AnnexB => Ok(annex_b_units(data).collect()),
            Framing::Length(size) => length_prefixed_units(data, size),
        }
    }
}

/// The NAL units of an Annex B stream, without start codes and trailing zero bytes. Bytes before the first start code
/// are skipped.
pub fn annex_b_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = next_start_code(data, 0).map(|(_, after)| after);
    std::iter::from_fn(move || {
        loop {
            let from = start?;
            let end = match next_start_code(data, from) {
                Some((at, after)) => {
                    start = Some(after);
                    at
                }
                None => {
                    start = None;
                    data.len()
                }
            };
            let mut unit = &data[from..end];
            while let [rest @ .., 0] = unit {
                unit = rest;
            }
            if !unit.is_empty() {
                return Some(unit);
            }
        }
    })
}

/// Whether `data` begins with a start code (three or four bytes).
pub fn is_annex_b(data: &[u8]) -> bool {
    data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1])
}

/// Position of the next `00 00 01` at or after `from`, and of what follows it.
fn next_start_code(data: &[u8], from: usize) -> Option<(usize, usize)> {
    let mut i = from;
    while i + 2 < data.len() {
        match (data[i], data[i + 1], data[i + 2]) {
            (0, 0, 1) => return Some((i, i + 3)),
            (_, _, 0 | 1) => i += 1,
            _ => i += 3,
        }
    }
    None
}

fn length_prefixed_units(data: &[u8], size: u8) -> Result<Vec<&[u8]>> {
    let size = usize::from(size);
    if !(1..=4).contains(&size) {
        return Err(damaged(format!("NAL length size of {size} bytes")));
    }
    let mut units = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        if rest.len() < size {
            return Err(damaged("NAL length truncated"));
        }
        let (prefix, tail) = rest.split_at(size);
        let length = prefix.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        if length > tail.len() {
            return Err(damaged(format!("NAL unit of {length} bytes in {} bytes", tail.len())));
        }
        let (unit, tail) = tail.split_at(length);
        if !unit.is_empty() {
            units.push(unit);
        }
        rest = tail;
    }
    Ok(units)
}

/// Appends `unit` with a four-byte length.
pub fn push_length_prefixed(out: &mut Vec<u8>, unit: &[u8]) {
    out.extend_from_slice(&(unit.len() as u32).to_be_bytes());
    out.extend_from_slice(unit);
}

/// Appends `unit` with a four-byte start code.
pub fn push_annex_b(out: &mut Vec<u8>, unit: &[u8]) {
    out.extend_from_slice(&[0, 0, 0, 1]);
    out.extend_from_slice(unit);
}

/// The payload of a NAL unit with the emulation prevention bytes (`00 00 03`) removed.
pub fn unescape(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(unit.len());
    let mut zeros = 0;
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_framings_give_the_same_units() {
        let annex = [9, 0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 0, 1, 0x65, 0, 0, 3, 0];
        let units = Framing::AnnexB.units(&annex).unwrap();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 0, 3]]);
        let mut prefixed = Vec::new();
        units.iter().for_each(|u| push_length_prefixed(&mut prefixed, u));
        assert_eq!(Framing::Length(4).units(&prefixed).unwrap(), units);
        prefixed.pop();
        assert!(Framing::Length(4).units(&prefixed).is_err());
    }

    #[test]
    fn emulation_prevention_is_removed() {
        assert_eq!(unescape(&[1, 0, 0, 3, 1, 0, 0, 3]), [1, 0, 0, 1, 0, 0]);
    }
}
