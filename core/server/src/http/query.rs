//! Query strings, without a type per route.

/// The decoded value of `key` in a query string, the first if there are several.
pub fn get(query: Option<&str>, key: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name)? == key).then(|| decoded(value)).flatten()
    })
}

/// `%41+b` to `A b`; `None` when it is not UTF-8.
pub fn decoded(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'+' => out.push(b' '),
            b'%' => match bytes.get(at..at + 2).and_then(|h| std::str::from_utf8(h).ok()) {
                Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                    out.push(u8::from_str_radix(hex, 16).ok()?);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// `text` so that it can stand in a query.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                for half in [byte >> 4, byte & 15] {
                    out.push(char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase());
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        let query = Some("a=1&session_id=x%20y+z&empty=&flag&a=2");
        assert_eq!(get(query, "a").as_deref(), Some("1"));
        assert_eq!(get(query, "session_id").as_deref(), Some("x y z"));
        assert_eq!(get(query, "empty").as_deref(), Some(""));
        assert_eq!(get(query, "flag").as_deref(), Some(""));
        assert_eq!(get(query, "none"), None);
        assert_eq!(get(Some("a=%ff"), "a"), None);
        assert_eq!(get(Some("a=100%"), "a").as_deref(), Some("100%"));
        assert_eq!(get(None, "a"), None);
    }

    #[test]
    fn what_is_encoded_comes_back() {
        let text = "a b&c=d/é%";
        assert_eq!(get(Some(&format!("k={}", encoded(text))), "k").as_deref(), Some(text));
    }
}
