//! Addresses as C has them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr;

/// An address and its length.
pub(super) struct Raw {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl Raw {
    pub fn of(address: SocketAddr) -> Raw {
        let mut raw = Raw::room();
        match address {
            SocketAddr::V4(a) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: a.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is large and aligned enough for every kind of address.
                unsafe { ptr::write(ptr::from_mut(&mut raw.storage).cast(), v4) };
                raw.len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(a) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: a.port().to_be(),
                    sin6_flowinfo: a.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                    sin6_scope_id: a.scope_id(),
                };
                // SAFETY: as above.
                unsafe { ptr::write(ptr::from_mut(&mut raw.storage).cast(), v6) };
                raw.len = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        raw
    }

    /// Room for any address.
    pub fn room() -> Raw {
        // SAFETY: plain numbers, for which zero is a value.
        let storage = unsafe { std::mem::zeroed() };
        Raw { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    pub fn as_ptr(&self) -> *const libc::sockaddr {
        ptr::from_ref(&self.storage).cast()
    }

    pub fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        ptr::from_mut(&mut self.storage).cast()
    }

    pub fn len(&self) -> i32 {
        self.len as i32
    }

    pub fn address(&self) -> Option<SocketAddr> {
        // SAFETY: the storage holds a whole address of whichever kind.
        unsafe { read(self.as_ptr()) }
    }
}

/// The address at `raw`; `None` when it is neither IPv4 nor IPv6.
///
/// # Safety
/// NULL, or an address that is as long as its family says.
pub(super) unsafe fn read(raw: *const libc::sockaddr) -> Option<SocketAddr> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: every address begins with its family.
    match i32::from(unsafe { ptr::read_unaligned(raw) }.sa_family) {
        libc::AF_INET => {
            // SAFETY: the caller's promise.
            let a = unsafe { ptr::read_unaligned(raw.cast::<libc::sockaddr_in>()) };
            let ip = Ipv4Addr::from(a.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::from((ip, u16::from_be(a.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the caller's promise.
            let a = unsafe { ptr::read_unaligned(raw.cast::<libc::sockaddr_in6>()) };
            Some(SocketAddr::from((Ipv6Addr::from(a.sin6_addr.s6_addr), u16::from_be(a.sin6_port))))
        }
        _ => None,
    }
}
