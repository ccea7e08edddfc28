//! What a key may be.

use ghoststream::{Error, Result};

/// The most bytes that S3 takes, less those of a prefix.
const MOST: usize = 900;

/// Checks a key: names of letters, digits, and anything else that is printed and means nothing to a file system or in a URL's
/// structure, with single slashes between them. `.` and `..` are no names.
///
/// # Errors
/// [`ghoststream::ErrorKind::Invalid`], saying what is wrong.
pub fn check(key: &str) -> Result<()> {
    let bad = |why: &str| {
        let shown: String = key.chars().take(100).filter(|c| !c.is_control()).collect();
        Err(Error::invalid("key", format!("{shown:?}: {why}")))
    };
    if key.is_empty() {
        return bad("it is empty");
    }
    if key.len() > MOST {
        return bad("it is too long");
    }
    if key.chars().any(|c| c.is_control() || matches!(c, '\\' | '?' | '#' | '%' | '*')) {
        return bad("it has characters that no key has");
    }
    match key.split('/').find(|name| matches!(*name, "" | "." | "..")) {
        Some("") => bad("a name in it is empty"),
        Some(_) => bad("it leads elsewhere"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_of_names() {
        for good in ["a", "a/b.m3u8", "live/my stream/v0_abc_s1.m4s", "..a/b..", "ä/ö"] {
            check(good).unwrap();
        }
        let long = "a".repeat(MOST + 1);
        for bad in ["", "/a", "a/", "a//b", ".", "a/..", "../a", "a\\b", "a%2e", "a\nb", "a?b", &long] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
