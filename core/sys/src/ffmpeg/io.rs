//! Reading and writing through Rust: `AVIOContext` over `Read`, `Write` and `Seek`.

use super::error::{self, Error, Result};
use super::raw;
use std::ffi::{c_int, c_void};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// Readable and seekable, movable between threads.
pub trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// Writable and seekable, movable between threads.
pub trait WriteSeek: Write + Seek + Send {}
impl<T: Write + Seek + Send> WriteSeek for T {}

/// Where a demuxer reads from when not from a URL. An [`Interrupt`](super::Interrupt) cannot end a read that blocks inside
/// the object: let that wake up by itself. A panic of the object becomes an error of kind `Io`.
pub enum Input {
    /// A file-like object.
    Seekable(Box<dyn ReadSeek>),
    /// A one-way stream.
    Stream(Box<dyn Read + Send>),
}

/// Where a muxer writes to when not to a URL. Blocking and panics: as for [`Input`].
pub enum Output {
    /// A file-like object; muxers may go back to fix a header. They cannot read it back: `movflags=+faststart` needs a
    /// URL, `moov_size` or fragments do not.
    Seekable(Box<dyn WriteSeek>),
    /// A one-way stream.
    Stream(Box<dyn Write + Send>),
}

enum Channel {
    In(Input),
    Out(Output),
}

struct State {
    channel: Channel,
    /// The first failure, whose text FFmpeg's number would lose.
    failure: Option<io::Error>,
}

impl State {
    fn of_the_object(&self) -> Option<Error> {
        let seeks = matches!(self.channel, Channel::In(Input::Seekable(_)));
        let failure = self.failure.as_ref().filter(|_| seeks)?;
        Some(Error::new(error::OBJECT, failure.to_string()))
    }
}

/// An `AVIOContext` with the Rust object under it. Must outlive the format context that uses it.
pub(crate) struct Io {
    raw: NonNull<raw::AVIOContext>,
    state: *mut State,
}

// SAFETY: the object under it is `Send`, and callbacks run only inside calls on the context that holds this.
unsafe impl Send for Io {}

const BUFFER: i32 = 64 * 1024;

impl Io {
    pub fn input(input: Input) -> Result<Io> {
        let seekable = matches!(input, Input::Seekable(_));
        Io::new(Channel::In(input), false, seekable)
    }

    pub fn output(output: Output) -> Result<Io> {
        let seekable = matches!(output, Output::Seekable(_));
        Io::new(Channel::Out(output), true, seekable)
    }

    fn new(channel: Channel, writing: bool, seekable: bool) -> Result<Io> {
        let state = Box::into_raw(Box::new(State { channel, failure: None }));
        // SAFETY: `state` lives until `Drop`, after the context.
        let io = unsafe {
            raw::gsav_io_alloc(
                BUFFER,
                writing as c_int,
                state.cast(),
                if writing { None } else { Some(read) },
                if writing { Some(write) } else { None },
                if seekable { Some(seek) } else { None },
            )
        };
        match NonNull::new(io) {
            Some(raw) => Ok(Io { raw, state }),
            None => {
                // SAFETY: made above, not shared.
                drop(unsafe { Box::from_raw(state) });
                Err(Error::memory("allocate I/O"))
            }
        }
    }

    pub fn as_ptr(&self) -> *mut raw::AVIOContext {
        self.raw.as_ptr()
    }

    /// Adds the text of the object's own failure, if it had one, to an error of FFmpeg's.
    pub fn explain(&mut self, e: Error) -> Error {
        // SAFETY: no callback runs now: `&mut self`, and callbacks run only inside calls of the owner.
        let state = unsafe { &mut *self.state };
        if let Some(failure) = state.of_the_object() {
            // What FFmpeg makes of it, be it an end or damage, is not what happened.
            return failure;
        }
        match state.failure.take() {
            Some(failure) => e.with(&failure.to_string()),
            None => e,
        }
    }

    /// The failure of an object that seeks, which FFmpeg took for an end or for something that it can do without. It stays:
    /// FFmpeg reads on nowhere but elsewhere.
    pub fn failure(&mut self) -> Result<()> {
        // SAFETY: as above.
        unsafe { &*self.state }.of_the_object().map_or(Ok(()), Err)
    }

    /// Forgets a failure: the next read is elsewhere.
    pub fn forget(&mut self) {
        // SAFETY: as above; the context is ours.
        unsafe {
            if (*self.state).failure.take().is_some() {
                raw::gsav_io_forget(self.raw.as_ptr());
            }
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        let mut io = self.raw.as_ptr();
        // SAFETY: the format context has gone before (field order in its owner); nothing calls back any more.
        unsafe {
            raw::gsav_io_free(&mut io);
            drop(Box::from_raw(self.state));
        }
    }
}

/// Runs a callback's body; a panic becomes an I/O error.
///
/// # Safety
/// `opaque` is the state given to `gsav_io_alloc`, and no other callback on it is running.
unsafe fn guard(opaque: *mut c_void, body: impl FnOnce(&mut Channel) -> io::Result<i64>) -> i64 {
    // SAFETY: the caller's promise.
    let state = unsafe { &mut *opaque.cast::<State>() };
    let result = catch_unwind(AssertUnwindSafe(|| body(&mut state.channel)))
        .unwrap_or_else(|_| Err(io::Error::other("the reader or writer panicked")));
    match result {
        Ok(n) => n,
        Err(e) => {
            let code = error::code_of(&e);
            state.failure.get_or_insert(e);
            code.into()
        }
    }
}

fn retry(mut f: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match f() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// The most that one read asks the reader for. A damaged header makes FFmpeg ask for as much as it claims to be long, and
/// what is asked for is zeroed; a short read is allowed, and FFmpeg comes back for the rest.
const LONGEST_READ: usize = 1 << 20;

unsafe extern "C" fn read(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    let Ok(len) = usize::try_from(size).map(|len| len.min(LONGEST_READ)) else { return error::INVALID };
    // SAFETY: FFmpeg gives at least `len` writable bytes. They may be uninitialised: zeroed first, as `Read` must not see that.
    let buffer = unsafe {
        std::ptr::write_bytes(buffer, 0, len);
        std::slice::from_raw_parts_mut(buffer, len)
    };
    // SAFETY: our state; libavformat does not call back concurrently.
    let n = unsafe {
        guard(opaque, |channel| {
            let n = match channel {
                Channel::In(Input::Seekable(r)) => retry(|| r.read(buffer))?,
                Channel::In(Input::Stream(r)) => retry(|| r.read(buffer))?,
                Channel::Out(_) => return Err(io::ErrorKind::Unsupported.into()),
            };
            Ok(if n == 0 { error::EOF.into() } else { n.min(len) as i64 })
        })
    };
    n as c_int
}

unsafe extern "C" fn write(opaque: *mut c_void, data: *const u8, size: c_int) -> c_int {
    let Ok(len) = usize::try_from(size) else { return error::INVALID };
    if len == 0 || data.is_null() {
        return 0;
    }
    // SAFETY: FFmpeg gives `size` readable bytes.
    let data = unsafe { std::slice::from_raw_parts(data, len) };
    // SAFETY: our state; libavformat does not call back concurrently.
    let n = unsafe {
        guard(opaque, |channel| {
            match channel {
                Channel::Out(Output::Seekable(w)) => w.write_all(data)?,
                Channel::Out(Output::Stream(w)) => w.write_all(data)?,
                Channel::In(_) => return Err(io::ErrorKind::Unsupported.into()),
            }
            Ok(len as i64)
        })
    };
    n as c_int
}

unsafe extern "C" fn seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    const AVSEEK_SIZE: c_int = 0x10000;
    const AVSEEK_FORCE: c_int = 0x20000;
    let whence = whence & !AVSEEK_FORCE;
    // SAFETY: our state; libavformat does not call back concurrently.
    unsafe {
        guard(opaque, |channel| {
            let target: &mut dyn Seek = match channel {
                Channel::In(Input::Seekable(r)) => r,
                Channel::Out(Output::Seekable(w)) => w,
                _ => return Err(io::ErrorKind::Unsupported.into()),
            };
            let to = match whence {
                AVSEEK_SIZE => {
                    let here = target.stream_position()?;
                    let size = target.seek(SeekFrom::End(0))?;
                    target.seek(SeekFrom::Start(here))?;
                    return Ok(size as i64);
                }
                libc::SEEK_SET => SeekFrom::Start(
                    u64::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?,
                ),
                libc::SEEK_CUR => SeekFrom::Current(offset),
                libc::SEEK_END => SeekFrom::End(offset),
                _ => return Err(io::ErrorKind::InvalidInput.into()),
            };
            target.seek(to).map(|n| n as i64)
        })
    }
}
