//! What a playlist request asks for (`_HLS_msn`, `_HLS_part`, `_HLS_skip`), and whether it may.

use super::window::Window;

/// The directives of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Directives {
    /// `_HLS_msn`: wait for this segment.
    pub sequence: Option<u64>,
    /// `_HLS_part`: wait for this part of it.
    pub part: Option<u64>,
    /// `_HLS_skip`: a delta update will do.
    pub skip: bool,
}

impl Directives {
    /// Reads a query.
    ///
    /// # Errors
    /// What is wrong with it: the answer is 400.
    pub fn parse(query: Option<&str>) -> Result<Directives, String> {
        let mut found = Directives::default();
        for (name, value) in query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
            let number = || -> Result<Option<u64>, String> {
                let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                let number = value.parse().ok().filter(|_| plain);
                number.map(Some).ok_or_else(|| format!("{name}: not a number"))
            };
            match name {
                "_HLS_msn" => found.sequence = number()?,
                "_HLS_part" => found.part = number()?,
                // Dates are not in these playlists, so that v2 has nothing more to skip.
                "_HLS_skip" => found.skip = matches!(value, "YES" | "v2"),
                _ => {}
            }
        }
        if found.part.is_some() && found.sequence.is_none() {
            return Err("_HLS_part needs _HLS_msn".into());
        }
        Ok(found)
    }

    /// Whether the request is for what will be soon; otherwise why not. `part` is the part target in microseconds.
    pub fn check(&self, window: &Window, part: i64) -> Result<(), String> {
        let Some(sequence) = self.sequence else { return Ok(()) };
        // The last whole segment is the one before the next.
        if sequence > window.next() + 1 {
            return Err(format!("_HLS_msn: {sequence} is too far ahead"));
        }
        // RFC 8216bis: the advance part limit.
        let ahead = if part >= 1_000_000 { 3 } else { 3_000_000_u64.div_ceil(part.unsigned_abs().max(1)) };
        let have = match window.open() {
            Some(open) if sequence == window.next() => open.parts.len() as u64,
            _ => 0,
        };
        match self.part {
            Some(wanted) if sequence >= window.next() && wanted >= have + ahead => {
                Err(format!("_HLS_part: {wanted} is too far ahead"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_strictly() {
        let read = |query: &str| Directives::parse(Some(query));
        assert_eq!(Directives::parse(None), Ok(Directives::default()));
        let both = Directives { sequence: Some(7), part: Some(0), skip: true };
        assert_eq!(read("x=1&_HLS_msn=7&_HLS_part=0&_HLS_skip=YES"), Ok(both));
        assert_eq!(read("_HLS_msn=7&_HLS_part=0&_HLS_skip=v2"), Ok(both));
        assert_eq!(read("_HLS_skip=perhaps"), Ok(Directives::default()));
        for bad in ["_HLS_part=1", "_HLS_msn=", "_HLS_msn=-1", "_HLS_msn=+1", "_HLS_msn=1&_HLS_part=x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("_HLS_msn=99999999999999999999").is_err());
    }
}
