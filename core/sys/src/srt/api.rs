//! libsrt's functions, found when the first of them is needed.

use super::{Error, Kind, Result};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

/// What a listener asks about a caller: opaque, socket, handshake version, peer's address, stream id; 0 = yes.
pub(super) type ListenCallback =
    unsafe extern "C" fn(*mut c_void, c_int, c_int, *const libc::sockaddr, *const c_char) -> c_int;

/// Debian has one library per TLS library; others have one. FFmpeg's is taken where it is loaded already.
const LIBRARIES: &[&CStr] = &[
    c"libsrt-gnutls.so.1.5",
    c"libsrt-openssl.so.1.5",
    c"libsrt.so.1.5",
    c"libsrt.so.1",
    c"libsrt-gnutls.so.1.4",
    c"libsrt-openssl.so.1.4",
    c"libsrt.so.1.4",
];

/// 1.4.2: the first with the reject reasons and the statistics that are used here.
const OLDEST: u32 = 0x01_04_02;

macro_rules! functions {
    ($($field:ident = $symbol:literal ($($argument:ty),*) -> $result:ty;)*) => {
        /// One pointer per function. All are there: loading fails where one is not.
        pub(super) struct Api {
            $(pub $field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Api {
            fn of(library: *mut c_void) -> Result<Api> {
                $(
                    // SAFETY: a live handle and a terminated name.
                    let $field = unsafe { libc::dlsym(library, $symbol.as_ptr()) };
                    if $field.is_null() {
                        let name = $symbol.to_string_lossy();
                        return Err(Error::new(Kind::Unsupported, format!("libsrt is too old: it has no {name}")));
                    }
                    // SAFETY: the symbol has this signature in every version of the library that has it.
                    let $field = unsafe {
                        std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> $result>($field)
                    };
                )*
                Ok(Api { $($field,)* })
            }
        }
    };
}

functions! {
    startup = c"srt_startup" () -> c_int;
    version = c"srt_getversion" () -> u32;
    log_level = c"srt_setloglevel" (c_int) -> ();
    create = c"srt_create_socket" () -> c_int;
    bind = c"srt_bind" (c_int, *const libc::sockaddr, c_int) -> c_int;
    listen = c"srt_listen" (c_int, c_int) -> c_int;
    listen_callback = c"srt_listen_callback" (c_int, ListenCallback, *mut c_void) -> c_int;
    accept = c"srt_accept" (c_int, *mut libc::sockaddr, *mut c_int) -> c_int;
    connect = c"srt_connect" (c_int, *const libc::sockaddr, c_int) -> c_int;
    rendezvous = c"srt_rendezvous"
        (c_int, *const libc::sockaddr, c_int, *const libc::sockaddr, c_int) -> c_int;
    close = c"srt_close" (c_int) -> c_int;
    peer_name = c"srt_getpeername" (c_int, *mut libc::sockaddr, *mut c_int) -> c_int;
    own_name = c"srt_getsockname" (c_int, *mut libc::sockaddr, *mut c_int) -> c_int;
    get = c"srt_getsockflag" (c_int, c_int, *mut c_void, *mut c_int) -> c_int;
    set = c"srt_setsockflag" (c_int, c_int, *const c_void, c_int) -> c_int;
    send = c"srt_sendmsg2" (c_int, *const c_char, c_int, *mut c_void) -> c_int;
    receive = c"srt_recvmsg2" (c_int, *mut c_char, c_int, *mut c_void) -> c_int;
    last_error = c"srt_getlasterror" (*mut c_int) -> c_int;
    error_text = c"srt_strerror" (c_int, c_int) -> *const c_char;
    state = c"srt_getsockstate" (c_int) -> c_int;
    send_buffer = c"srt_getsndbuffer" (c_int, *mut usize, *mut usize) -> c_int;
    statistics = c"srt_bistats" (c_int, *mut c_void, c_int, c_int) -> c_int;
    reject_reason = c"srt_getrejectreason" (c_int) -> c_int;
    set_reject_reason = c"srt_setrejectreason" (c_int, c_int) -> c_int;
    reject_text = c"srt_rejectreason_str" (c_int) -> *const c_char;
    epoll_create = c"srt_epoll_create" () -> c_int;
    epoll_add = c"srt_epoll_add_usock" (c_int, c_int, *const c_int) -> c_int;
    epoll_wait = c"srt_epoll_uwait" (c_int, *mut Ready, c_int, i64) -> c_int;
    epoll_release = c"srt_epoll_release" (c_int) -> c_int;
}

/// `SRT_EPOLL_EVENT`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Ready {
    pub socket: c_int,
    pub events: c_int,
}

/// The library, started.
///
/// # Errors
/// `Unsupported` where it is missing or too old.
pub(super) fn api() -> Result<&'static Api> {
    static API: OnceLock<Result<Api>> = OnceLock::new();
    API.get_or_init(load).as_ref().map_err(Error::clone)
}

fn load() -> Result<Api> {
    let open = |flags: c_int| {
        LIBRARIES.iter().find_map(|name| {
            // SAFETY: a terminated name; loading libsrt runs its constructors, which is what asking for SRT means. It stays
            // loaded for the life of the process.
            let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL | flags) };
            (!library.is_null()).then_some(library)
        })
    };
    let library = open(libc::RTLD_NOLOAD).or_else(|| open(0));
    let library = library.ok_or_else(|| {
        Error::new(
            Kind::Unsupported,
            "libsrt is not installed (Debian: libsrt1.5-gnutls or libsrt1.5-openssl)",
        )
    })?;
    let api = Api::of(library)?;
    // SAFETY: takes nothing.
    let version = unsafe { (api.version)() };
    if version < OLDEST {
        let (major, minor, patch) = (version >> 16, version >> 8 & 0xff, version & 0xff);
        return Err(Error::new(
            Kind::Unsupported,
            format!("libsrt {major}.{minor}.{patch} is too old: 1.4.2 is needed"),
        ));
    }
    // SAFETY: it counts its users; this one never leaves, so that FFmpeg's leaving does not end what is open here.
    if unsafe { (api.startup)() } < 0 {
        return Err(api.error("start libsrt"));
    }
    const LOG_CRIT: c_int = 2;
    // SAFETY: takes a number. By itself it writes every refused connection to standard error.
    unsafe { (api.log_level)(LOG_CRIT) };
    Ok(api)
}

impl Api {
    /// What the calling thread's last call failed with.
    pub fn error(&self, context: &str) -> Error {
        let mut errno = 0;
        // SAFETY: fills one number.
        let code = unsafe { (self.last_error)(&mut errno) };
        // SAFETY: a terminated text that is valid until this thread's next call; copied at once.
        let text = unsafe { text((self.error_text)(code, errno)) };
        Error::new(Error::kind_of(code), format!("{context}: {}", text.trim_end_matches('.')))
    }

    /// `code` of a call, or why it failed.
    pub fn check(&self, code: c_int, context: &str) -> Result<c_int> {
        if code < 0 { Err(self.error(context)) } else { Ok(code) }
    }
}

/// A C text, copied.
///
/// # Safety
/// NULL or a terminated string.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
