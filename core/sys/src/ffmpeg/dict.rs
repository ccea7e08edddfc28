//! Options and metadata: `AVDictionary`.

use super::error::{Result, c_string, check, text};
use super::raw;
use std::ptr;

/// Name and value pairs in order; what a call did not consume comes back in the same shape.
pub type Pairs = Vec<(String, String)>;

/// An `AVDictionary` for the length of one call.
pub(crate) struct Dict(*mut raw::AVDictionary);

impl Dict {
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Dict> {
        let mut dict = Dict(ptr::null_mut());
        for (key, value) in pairs {
            dict.set(key, value)?;
        }
        Ok(dict)
    }

    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Dict> {
        Dict::new(pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }

    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let (key, value) = (c_string(key, "an option's name")?, c_string(value, "an option's value")?);
        // SAFETY: both strings are terminated and copied by the call; self.0 is NULL or a dictionary of ours.
        check(unsafe { raw::av_dict_set(&mut self.0, key.as_ptr(), value.as_ptr(), 0) }, "set option")?;
        Ok(())
    }

    /// For functions that take `AVDictionary **` and leave behind what they did not use.
    pub fn as_mut(&mut self) -> *mut *mut raw::AVDictionary {
        &mut self.0
    }

    pub fn as_ptr(&self) -> *mut raw::AVDictionary {
        self.0
    }

    pub fn pairs(&self) -> Pairs {
        // SAFETY: NULL or a live dictionary of ours.
        unsafe { read(self.0) }
    }
}

impl Drop for Dict {
    fn drop(&mut self) {
        // SAFETY: NULL or ours; freed once.
        unsafe { raw::av_dict_free(&mut self.0) }
    }
}

/// Copies a dictionary of FFmpeg's.
///
/// # Safety
/// `dict` is NULL or a dictionary that lives through the call.
pub(crate) unsafe fn read(dict: *const raw::AVDictionary) -> Pairs {
    const IGNORE_SUFFIX: i32 = 2;
    let mut out = Vec::new();
    let mut entry = ptr::null();
    loop {
        // SAFETY: the dictionary is live; `entry` is NULL or came from the call before.
        entry = unsafe { raw::av_dict_get(dict, c"".as_ptr(), entry, IGNORE_SUFFIX) };
        if entry.is_null() {
            return out;
        }
        // SAFETY: an entry of a live dictionary has two terminated strings.
        out.push(unsafe { (text((*entry).key), text((*entry).value)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_survive_the_trip_and_a_nul_is_refused() {
        let dict = Dict::new([("preset", "fast"), ("crf", "20")]).unwrap();
        assert_eq!(dict.pairs(), [("preset".into(), "fast".into()), ("crf".into(), "20".into())]);
        assert!(Dict::new([("a\0b", "c")]).is_err());
    }
}
