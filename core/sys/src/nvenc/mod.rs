//! NVENC, driven directly through the Video Codec SDK's interface, versions 12.2 to 13.1 (drivers from 550.54.14 on).
//!
//! Nothing is needed at build time; [`Library::load`] finds the driver's `libnvidia-encode.so.1`. A [`Session`] on a CUDA
//! context answers what the device can do, and becomes a [`Submitter`] and a [`Retriever`], which two threads may use at
//! the same time. Everything is released in the order that the interface wants when both are dropped.

mod caps;
mod config;
mod error;
mod input;
mod layout;
#[cfg(test)]
mod layout_tests;
mod level;
mod library;
mod picture;
mod preset;
mod retrieve;
mod session;
mod shared;
mod submit;
mod translate;
mod values;

pub use caps::{Capabilities, Refusal};
pub use config::{
    BRef, Changes, Codec, EncodeConfig, Entropy, IntraRefresh, Lookahead, MultiPass, Profile, RateControl,
    Slices, Split, Surface, Tuning, Vui,
};
pub use error::{Error, Kind, Result};
pub use input::InputBuffer;
pub use level::not_of_level;
pub use library::{ApiVersion, Library};
pub use picture::{Force, Payload, Picture, PictureKind};
pub use preset::Turn;
pub use retrieve::{Coded, Next, Retriever};
pub use session::Session;
pub use submit::{Input, Submitter};
