//! What stands where libsrt is not loaded: on systems other than Linux.

use super::{Caller, Decision, Error, Kind, Options, Result, Stats};
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn nowhere() -> Error {
    Error::new(Kind::Unsupported, "SRT is built for Linux only, as yet")
}

/// A connection. There is none on this system.
#[derive(Debug)]
pub enum Socket {}

/// A listener. There is none on this system.
#[derive(Debug)]
pub enum Listener {}

#[allow(missing_docs, clippy::missing_errors_doc)]
impl Socket {
    pub fn connect(_: SocketAddr, _: &Options, _: &dyn Fn() -> bool) -> Result<Socket> {
        Err(nowhere())
    }
    pub fn rendezvous(_: SocketAddr, _: SocketAddr, _: &Options, _: &dyn Fn() -> bool) -> Result<Socket> {
        Err(nowhere())
    }
    pub fn send(&self, _: &[u8], _: Duration) -> Result<()> {
        match *self {}
    }
    pub fn recv(&self, _: &mut [u8], _: Duration) -> Result<usize> {
        match *self {}
    }
    pub fn stats(&self) -> Result<Stats> {
        match *self {}
    }
    pub fn waiting(&self) -> Result<usize> {
        match *self {}
    }
    pub fn drain(&self, _: Duration) -> bool {
        match *self {}
    }
    pub fn is_connected(&self) -> bool {
        match *self {}
    }
    pub fn stream_id(&self) -> String {
        match *self {}
    }
    pub fn peer(&self) -> Option<SocketAddr> {
        match *self {}
    }
    pub fn local(&self) -> Option<SocketAddr> {
        match *self {}
    }
    pub fn close(&self) {
        match *self {}
    }
}

#[allow(missing_docs, clippy::missing_errors_doc)]
impl Listener {
    pub fn bind(
        _: SocketAddr,
        _: &Options,
        _: impl Fn(&Caller) -> Decision + Send + Sync + 'static,
    ) -> Result<Listener> {
        Err(nowhere())
    }
    pub fn accept(&self, _: Duration) -> Result<Option<Socket>> {
        match *self {}
    }
    pub fn local(&self) -> Option<SocketAddr> {
        match *self {}
    }
    pub fn close(&self) {
        match *self {}
    }
}
