//! What must be known of an MPEG transport stream before the engine gets it: whether it is one, and when it becomes another
//! one. Sans-IO.
//!
//! FFmpeg's demuxer keeps the codecs that a program's first table names; where a later table names others, everything behind
//! it belongs to a demuxer of its own.

use bytes::{Bytes, BytesMut};

/// Bytes of a packet.
pub const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// Bytes without a transport stream in them after which it is none.
const NOISE: usize = 64 << 10;
/// Packets in a row that make noise before them forgotten.
const SOUND: usize = 20;
/// Programs of which tables are compared.
const PROGRAMS: usize = 16;

/// What bytes brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Whole packets.
    Packets(Bytes),
    /// What follows has other codecs, and begins with its own tables.
    Change,
}

/// What came is no transport stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// An elementary stream: its stream type and its packets' number.
type Elementary = (u8, u16);

/// Looks at a transport stream on its way.
#[derive(Debug, Default)]
pub struct Watch {
    rest: BytesMut,
    locked: bool,
    noise: usize,
    row: usize,
    /// The last table of programs, which a new demuxer begins with.
    pat: Option<Bytes>,
    /// Programs' tables: their packets' number, and what they named.
    programs: Vec<(u16, Option<Vec<Elementary>>)>,
    skipped: u64,
}

impl Watch {
    /// Takes bytes, cut anywhere, and gives the packets in them.
    ///
    /// # Errors
    /// [`Garbage`].
    pub fn take(&mut self, data: &[u8]) -> Result<Vec<Part>, Garbage> {
        self.rest.extend_from_slice(data);
        let (mut parts, mut whole) = (Vec::new(), BytesMut::new());
        while self.find()? {
            let packet = self.rest.split_to(PACKET).freeze();
            if self.changes(&packet) {
                if !whole.is_empty() {
                    parts.push(Part::Packets(whole.split().freeze()));
                }
                parts.push(Part::Change);
                if let Some(pat) = self.pat.as_ref().filter(|pat| **pat != packet) {
                    whole.extend_from_slice(pat);
                }
            }
            whole.extend_from_slice(&packet);
        }
        if !whole.is_empty() {
            parts.push(Part::Packets(whole.freeze()));
        }
        Ok(parts)
    }

    /// Bytes that were no packets.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether a whole packet is at the front; what is none is taken away.
    fn find(&mut self) -> Result<bool, Garbage> {
        if self.locked && self.rest.first().is_some_and(|b| *b != SYNC) {
            (self.locked, self.row) = (false, 0);
        }
        if !self.locked {
            // Three in the right places are no accident.
            let fits = |at: usize| (0..3).all(|n| self.rest.get(at + n * PACKET) == Some(&SYNC));
            let last = self.rest.len().saturating_sub(2 * PACKET);
            let found = (0..last).find(|at| fits(*at));
            let gone = found.unwrap_or(last);
            let _noise = self.rest.split_to(gone);
            self.skipped += gone as u64;
            self.noise += gone;
            if self.noise > NOISE {
                return Err(Garbage);
            }
            self.locked = found.is_some();
        }
        let whole = self.locked && self.rest.len() >= PACKET;
        if whole {
            self.row += 1;
            if self.row >= SOUND {
                self.noise = 0;
            }
        }
        Ok(whole)
    }

    /// Takes a packet's tables; whether what follows needs another demuxer.
    fn changes(&mut self, packet: &Bytes) -> bool {
        let [_, high, low, flags, ..] = packet[..] else { return false };
        let pid = u16::from_be_bytes([high & 0x1f, low]);
        let table = pid == 0 || self.programs.iter().any(|(p, _)| *p == pid);
        // Damaged, scrambled, or without the beginning of a table.
        if !table || high & 0xc0 != 0x40 || flags & 0xd0 != 0x10 {
            return false;
        }
        let mut at = 4;
        if flags & 0x20 != 0 {
            at += 1 + packet.get(4).map_or(0, |length| usize::from(*length));
        }
        at += 1 + packet.get(at).map_or(0, |pointer| usize::from(*pointer));
        let Some(section) = packet.get(at..) else { return false };
        match pid {
            0 => {
                let Some(programs) = programs(section) else { return false };
                let known: Vec<u16> = self.programs.iter().map(|(pid, _)| *pid).collect();
                self.pat = Some(packet.clone());
                if known == programs {
                    return false;
                }
                let began = self.programs.iter().any(|(_, named)| named.is_some());
                self.programs = programs.into_iter().map(|pid| (pid, None)).collect();
                began
            }
            _ => {
                let Some(streams) = elementary(section) else { return false };
                let Some((_, named)) = self.programs.iter_mut().find(|(p, _)| *p == pid) else {
                    return false;
                };
                named.replace(streams.clone()).is_some_and(|before| before != streams)
            }
        }
    }
}

/// The body of a section with the table id `table` that is in force, as far as it is here, without its CRC.
fn body(section: &[u8], table: u8) -> Option<&[u8]> {
    let [id, high, low, _, _, version, _, _, ..] = *section else { return None };
    let length = usize::from(u16::from_be_bytes([high & 0x0f, low]));
    if id != table || version & 1 == 0 || length < 9 {
        return None;
    }
    section.get(8..(3 + length - 4).min(section.len()))
}

/// Where the tables of the programs are.
fn programs(section: &[u8]) -> Option<Vec<u16>> {
    let mut all = Vec::new();
    for entry in body(section, 0)?.chunks_exact(4) {
        let [n0, n1, p0, p1] = *entry else { continue };
        // Number 0 is the network's table.
        if (n0, n1) != (0, 0) && all.len() < PROGRAMS {
            all.push(u16::from_be_bytes([p0 & 0x1f, p1]));
        }
    }
    Some(all)
}

/// A program's elementary streams.
fn elementary(section: &[u8]) -> Option<Vec<Elementary>> {
    let body = body(section, 2)?;
    let [_, _, high, low, ..] = *body else { return None };
    let mut rest = body.get(4 + usize::from(u16::from_be_bytes([high & 0x0f, low]))..)?;
    let mut all = Vec::new();
    while let [kind, p0, p1, l0, l1, ..] = *rest {
        all.push((kind, u16::from_be_bytes([p0 & 0x1f, p1])));
        rest = rest.get(5 + usize::from(u16::from_be_bytes([l0 & 0x0f, l1]))..).unwrap_or_default();
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, start: bool, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![SYNC, u8::from(start) << 6 | (pid >> 8) as u8, pid as u8, 0x10];
        out.extend_from_slice(payload);
        out.resize(PACKET, 0xff);
        out
    }

    fn section(table: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![0, table];
        out.extend_from_slice(&(0xb000 | (body.len() + 9) as u16).to_be_bytes());
        out.extend_from_slice(&[0, 1, 0xc1, 0, 0]);
        out.extend_from_slice(body);
        out.extend_from_slice(&[0; 4]);
        out
    }

    fn pat(pmt: u8) -> Vec<u8> {
        packet(0, true, &section(0, &[0, 0, 0xe0, 0x10, 0, 1, 0xf0, pmt]))
    }

    fn pmt(streams: &[Elementary]) -> Vec<u8> {
        let mut body = vec![0xe1, 0, 0xf0, 0];
        for (kind, pid) in streams {
            body.push(*kind);
            body.extend_from_slice(&(0xe000 | pid).to_be_bytes());
            body.extend_from_slice(&[0xf0, 2, 0x0a, 0]);
        }
        packet(0x1000, true, &section(2, &body))
    }

    fn media(n: u8) -> Vec<u8> {
        packet(0x100, false, &[n; 100])
    }

    fn parts(watch: &mut Watch, data: &[u8], cut: usize) -> Vec<Part> {
        data.chunks(cut).flat_map(|piece| watch.take(piece).unwrap()).collect()
    }

    #[test]
    fn packets_come_through_however_they_are_cut() {
        let h264 = pmt(&[(0x1b, 0x100), (0x0f, 0x101)]);
        let mut data = [b"noise".to_vec(), pat(0), h264, media(1), media(2)].concat();
        data.extend_from_slice(b"lost a few");
        data.extend([media(3), media(4), media(5)].concat());
        for cut in [1, 100, 188, 1316] {
            let mut watch = Watch::default();
            let out: Vec<u8> = parts(&mut watch, &data, cut)
                .into_iter()
                .flat_map(|part| match part {
                    Part::Packets(bytes) => bytes.to_vec(),
                    Part::Change => panic!("nothing changes"),
                })
                .collect();
            assert_eq!(out.len(), 7 * PACKET, "{cut}");
            assert_eq!(watch.skipped(), 15, "{cut}");
        }
    }

    #[test]
    fn another_codec_is_another_stream() {
        let (h264, hevc) = (pmt(&[(0x1b, 0x100)]), pmt(&[(0x24, 0x100)]));
        let data =
            [pat(0), h264.clone(), media(1), pat(0), h264.clone(), media(2), hevc.clone(), media(3)].concat();
        let mut watch = Watch::default();
        let parts = watch.take(&data).unwrap();
        let [Part::Packets(before), Part::Change, Part::Packets(after)] = &parts[..] else {
            panic!("{parts:?}")
        };
        assert_eq!(before.len(), 6 * PACKET);
        assert_eq!(after[..], [pat(0), hevc, media(3)].concat()[..], "it begins with tables");
        // Another table of programs, behind which its program's table comes.
        let other = packet(0x1001, true, &h264[4..]);
        let parts = watch.take(&[pat(1), other, media(4)].concat()).unwrap();
        assert!(matches!(&parts[..], [Part::Change, Part::Packets(p)] if p.len() == 3 * PACKET), "{parts:?}");
    }

    #[test]
    fn other_things_are_not_taken_for_it() {
        let mut seed = 7_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let mut watch = Watch::default();
        let noise: Vec<u8> = (0..NOISE + 4 * PACKET).map(|_| random()).collect();
        assert_eq!(watch.take(&noise), Err(Garbage));
        // Anything in the place of tables is lived through.
        let mut watch = Watch::default();
        for n in 0..2000_u32 {
            let pid = if n % 2 == 0 { 0 } else { 0x1000 };
            let payload: Vec<u8> = (0..184).map(|_| random()).collect();
            let mut packet = packet(pid, true, &payload);
            packet[3] = 0x10 | random() & 0x30;
            watch.take(&packet).unwrap();
        }
    }
}
