//! Whom a STUN request is for (RFC 8489).

/// Our part of the user name in a STUN request: `ours:theirs`. `None` for anything else.
pub fn ice_name(data: &[u8]) -> Option<&str> {
    const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 6;
    if data.first()? & 0xc0 != 0 || data.get(4..8)? != COOKIE {
        return None;
    }
    let mut rest = data.get(20..)?;
    while let [k0, k1, l0, l1, tail @ ..] = rest {
        let (kind, length) = (u16::from_be_bytes([*k0, *k1]), usize::from(u16::from_be_bytes([*l0, *l1])));
        let value = tail.get(..length)?;
        if kind == USERNAME {
            return Some(std::str::from_utf8(value).ok()?.split_once(':')?.0);
        }
        rest = tail.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_in_a_request_and_nowhere_else() {
        let mut request = vec![0, 1, 0, 16, 0x21, 0x12, 0xa4, 0x42];
        request.extend([7; 12]);
        request.extend([0x80, 0x22, 0, 3, b'x', b'y', b'z', 0]);
        request.extend([0, 6, 0, 5, b'a', b'b', b':', b'c', b'd', 0, 0, 0]);
        assert_eq!(ice_name(&request), Some("ab"));
        for end in 0..request.len() - 3 {
            assert_eq!(ice_name(&request[..end]), None, "cut at {end}");
        }
        assert_eq!(ice_name(&[0x80; 40]), None);
        request[31] = 200;
        assert_eq!(ice_name(&request), None);
    }
}
