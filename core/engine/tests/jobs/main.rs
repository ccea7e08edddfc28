//! Whole jobs on real media: what comes out is checked by FFmpeg's own tools.

mod awkward;
mod bad_input;
mod broadcast;
mod carried;
mod control;
mod damage;
mod feeding;
mod files;
mod growing;
mod hdr;
mod joined;
mod looping;
mod packets;
mod parts;
mod segments;
mod stills;
mod support;
mod turned;
mod words;
