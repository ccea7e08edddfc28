//! Reading an address from its beginning to its end, without a demuxer: `AVIOContext` of a protocol.

use super::dict::{Dict, Pairs};
use super::error::{Error, Result, as_ptr, c_option, c_string, check};
use super::interrupt::{Interrupt, Watch, interrupted};
use super::raw;
use std::ptr::{self, NonNull};

/// An address opened for reading. One thread at a time; blocking calls end through its [`Interrupt`].
pub struct Url {
    raw: NonNull<raw::AVIOContext>,
    watch: Box<Watch>,
    unused: Pairs,
    /// Bytes that it announced; negative for none. Asked at once: a reconnect that fails forgets it.
    length: i64,
}

// SAFETY: owned alone; protocols are not tied to a thread, and the watch is `Send`.
unsafe impl Send for Url {}

impl Url {
    /// Opens `url` with the protocols' `options`; `protocols` limits which may be used.
    ///
    /// # Errors
    /// `NotFound`, `Denied`, `Unsupported`, `Invalid` (a protocol that is not allowed), `Cancelled`, `TimedOut`, `Io`.
    pub fn open(
        url: &str,
        options: &Pairs,
        protocols: Option<&[String]>,
        interrupt: Interrupt,
    ) -> Result<Url> {
        raw::init();
        let address = c_string(url, "a URL")?;
        let list = protocols.map(|p| p.join(","));
        let list = c_option(list.as_deref(), "a protocol")?;
        let mut pairs = Dict::from_pairs(options)?;
        let watch = Watch::new(interrupt);
        let mut io = ptr::null_mut();
        watch.run(|| {
            // SAFETY: terminated strings; the watch lives in the result, longer than what is opened.
            let code = unsafe {
                raw::gsav_url_open(
                    &mut io,
                    address.as_ptr(),
                    as_ptr(&list),
                    interrupted,
                    watch.as_opaque(),
                    pairs.as_mut(),
                )
            };
            check(code, "open")
        })?;
        let raw = NonNull::new(io).ok_or_else(|| Error::memory("open"))?;
        // SAFETY: opened above.
        let length = unsafe { raw::gsav_url_length(io) };
        Ok(Url { raw, watch, unused: pairs.pairs(), length })
    }

    /// Options that the protocols did not take.
    pub fn unused_options(&self) -> &[(String, String)] {
        &self.unused
    }

    /// Reads what is there, at least a byte; 0 at the end.
    ///
    /// # Errors
    /// `Cancelled`, `TimedOut`, `Io` (also when the transfer ends before its announced length).
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let size = i32::try_from(buffer.len()).unwrap_or(i32::MAX);
        let read = self.watch.run(|| {
            // SAFETY: an opened context and at least `size` writable bytes.
            let code =
                unsafe { raw::gsav_url_read(self.raw.as_ptr(), self.length, buffer.as_mut_ptr(), size) };
            check(code, "read")
        });
        match read {
            // Where no length was announced, hanging up is the only end there is; FFmpeg makes an error of it.
            Err(e) if e.code == -libc::EIO && self.length < 0 => Ok(0),
            read => read.map(|n| usize::try_from(n).unwrap_or(0)),
        }
    }
}

impl Drop for Url {
    fn drop(&mut self) {
        let mut io = self.raw.as_ptr();
        // SAFETY: ours; closed once, before the watch under it.
        unsafe { raw::gsav_url_close(&mut io) }
    }
}

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Url").finish_non_exhaustive()
    }
}
