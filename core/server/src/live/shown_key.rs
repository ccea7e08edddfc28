//! The key in an address: of HTTP, RTMP and SRT alike.

/// What a client shows: `key=…` (or `token=…`, `pass=…`) of a query.
pub fn shown(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        ["key", "token", "pass"].contains(&name).then_some(value)
    })
}
