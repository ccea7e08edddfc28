//! The server from outside: every route, field, status and event of the contract, over real sockets.

mod access;
mod files;
mod jobs;
mod live;
mod service;
mod start;
mod support;
mod ws;
