//! What a call says, in one number.

use crate::boundary::{enter_or, last_error};
use engine::ErrorKind;
use std::ffi::c_char;

/// What a call says: 0 done; above 0 "not now", which is no failure; below 0 a failure, explained by gs_last_error.
/// A value that this header does not name comes from a newer library: go by its sign.
/// Since: 0
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(non_camel_case_types)]
pub enum gs_status {
    /// Done.
    GS_OK = 0,
    /// A poll (timeout 0) found nothing ready, or no room.
    GS_AGAIN = 1,
    /// There is no more, and never will be.
    GS_END = 2,
    /// The wait ended first.
    GS_TIMEOUT = 3,
    /// An argument, a field of a document or a call that can never be right.
    GS_INVALID = -1,
    /// The build, device, codec or container cannot do this.
    GS_UNSUPPORTED = -2,
    /// A file, stream, device or codec that does not exist.
    GS_NOT_FOUND = -3,
    /// A GPU, driver, camera or other device failed.
    GS_DEVICE = -4,
    /// Host or device memory ran out.
    GS_MEMORY = -5,
    /// Reading or writing failed: disk full, network cut, peer silent.
    GS_IO = -6,
    /// The media is damaged, encrypted, or not media.
    GS_FORMAT = -7,
    /// The operation was cancelled by its owner.
    GS_CANCELLED = -8,
    /// The object is in a state in which the call makes no sense, such as a finished job.
    GS_STATE = -9,
    /// A resource is in use, or a limit is reached.
    GS_BUSY = -10,
    /// Refused by the system, the user or a policy such as the allow-list of protocols.
    GS_DENIED = -11,
    /// A defect in GhostStream. Please report it.
    GS_INTERNAL = -12,
}

use gs_status::*;

/// Every status with its name in documents and messages.
const NAMES: [(gs_status, &std::ffi::CStr); 16] = [
    (GS_OK, c"ok"),
    (GS_AGAIN, c"again"),
    (GS_END, c"end"),
    (GS_TIMEOUT, c"timeout"),
    (GS_INVALID, c"invalid"),
    (GS_UNSUPPORTED, c"unsupported"),
    (GS_NOT_FOUND, c"not_found"),
    (GS_DEVICE, c"device"),
    (GS_MEMORY, c"memory"),
    (GS_IO, c"io"),
    (GS_FORMAT, c"format"),
    (GS_CANCELLED, c"cancelled"),
    (GS_STATE, c"state"),
    (GS_BUSY, c"busy"),
    (GS_DENIED, c"denied"),
    (GS_INTERNAL, c"internal"),
];

impl From<ErrorKind> for gs_status {
    fn from(kind: ErrorKind) -> gs_status {
        // The engine's discriminants are this ABI.
        NAMES.iter().map(|(s, _)| *s).find(|s| *s as i32 == kind as i32).unwrap_or(GS_INTERNAL)
    }
}

/// Why this thread's last failing call failed: the whole chain of causes, outermost first, naming the file or the field
/// (`outputs[0].video.bitrate: ...`). Empty before the first failure. Calls that succeed or say "not now" leave it alone.
/// Owns: nothing; the text is valid until this thread's next failing call.
/// Thread: any; every thread has its own.
/// Errors: none; never NULL.
/// Since: 0
#[unsafe(no_mangle)]
pub extern "C" fn gs_last_error() -> *const c_char {
    enter_or(c"".as_ptr(), last_error)
}

/// The name of a status as documents and messages write it (`not_found`); `unknown` for a number that is none.
/// Owns: nothing; the text is static.
/// Thread: any.
/// Errors: none; never NULL.
/// Since: 0
#[unsafe(no_mangle)]
pub extern "C" fn gs_status_name(status: i32) -> *const c_char {
    let found = NAMES.iter().find(|(s, _)| *s as i32 == status);
    found.map_or(c"unknown", |(_, name)| name).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn every_error_kind_is_the_status_of_its_name() {
        for number in -12..=-1 {
            // SAFETY: a static, terminated string.
            let name = unsafe { CStr::from_ptr(gs_status_name(number)) }.to_str().unwrap();
            assert_ne!(name, "unknown", "{number}");
        }
        for kind in [
            ErrorKind::Invalid,
            ErrorKind::Unsupported,
            ErrorKind::NotFound,
            ErrorKind::Device,
            ErrorKind::Memory,
            ErrorKind::Io,
            ErrorKind::Format,
            ErrorKind::Cancelled,
            ErrorKind::State,
            ErrorKind::Busy,
            ErrorKind::Denied,
            ErrorKind::Internal,
        ] {
            let status = gs_status::from(kind);
            assert_eq!(status as i32, kind as i32);
            // SAFETY: a static, terminated string.
            let name = unsafe { CStr::from_ptr(gs_status_name(status as i32)) };
            assert_eq!(name.to_str().unwrap(), kind.name());
        }
    }
}
