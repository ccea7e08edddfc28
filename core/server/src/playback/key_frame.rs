//! Where the first key frame of a segment ends. Segments begin with one. Pure.

/// The length of the beginning of `segment` that a player needs to show its first picture. `None`: it cannot be told.
pub(super) fn end(segment: &[u8], ts: bool) -> Option<usize> {
    if ts { ts_end(segment) } else { box_end(segment) }
}

/// The end of the first `mdat`: runs put the key frame into a fragment of its own.
fn box_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let size = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
        let kind = bytes.get(at + 4..at + 8)?;
        // 64-bit sizes and boxes to the end of the file are nothing that a segment of ours has.
        let next = at.checked_add(size).filter(|next| size >= 8 && *next <= bytes.len())?;
        if kind == b"mdat" {
            return Some(next);
        }
        at = next;
    }
}

/// MPEG-TS: where the second picture begins (ISO/IEC 13818-1, 2.4.3; video has PES ids E0 to EF).
fn ts_end(bytes: &[u8]) -> Option<usize> {
    let mut video = None;
    for (n, packet) in bytes.chunks_exact(188).enumerate() {
        let (begins, pid) = (packet[1] & 0x40 != 0, u16::from_be_bytes([packet[1] & 0x1f, packet[2]]));
        if packet[0] != 0x47 || !begins {
            continue;
        }
        let payload = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        let is_video = matches!(packet.get(payload..payload + 4), Some([0, 0, 1, 0xe0..=0xef]));
        match video {
            Some(first) if first == pid => return Some(n * 188),
            None if is_video => video = Some(pid),
            _ => {}
        }
    }
    // One picture is all there is.
    video.map(|_| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_walked_to_the_first_media_data() {
        let boxed =
            |kind: &[u8; 4], n: usize| [&((8 + n) as u32).to_be_bytes()[..], kind, &vec![1; n]].concat();
        let head = [boxed(b"styp", 8), boxed(b"moof", 40), boxed(b"mdat", 100)].concat();
        let all = [head.clone(), boxed(b"moof", 30), boxed(b"mdat", 50)].concat();
        assert_eq!(end(&all, false), Some(head.len()));
        assert_eq!(end(&head[..head.len() - 1], false), None, "cut");
        assert_eq!(end(&[0; 16], false), None, "a box of no size");
    }

    #[test]
    fn packets_are_read_to_the_second_picture() {
        let packet = |pid: u8, begins: bool, id: u8, stuffed: bool| {
            let mut p = vec![0x47, if begins { 0x40 } else { 0 }, pid, if stuffed { 0x30 } else { 0x10 }];
            if stuffed {
                p.extend([7, 0, 0, 0, 0, 0, 0, 0]);
            }
            p.extend([0, 0, 1, id]);
            p.resize(188, 0xff);
            p
        };
        let all = [
            packet(0, true, 0, false),
            packet(1, true, 0xe0, true),
            packet(1, false, 0, false),
            packet(2, true, 0xc0, false),
            packet(1, true, 0xe0, false),
        ];
        assert_eq!(end(&all.concat(), true), Some(4 * 188));
        assert_eq!(end(&all[..4].concat(), true), Some(4 * 188), "the only picture");
        assert_eq!(end(&all[..1].concat(), true), None);
    }
}
