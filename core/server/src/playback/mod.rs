//! On-demand playback: complete playlists at once, segments when somebody asks for them.
//!
//! A [`Session`] belongs to one job. [`decide`] says whether the source is played as it is, repackaged or encoded, and
//! why; [`timeline`] says where every segment begins before any is made; [`playlists`] writes that down for players; and
//! the session starts runs (engine documents with a window) where viewers are, feeds several viewers from one run, halts
//! runs that are far ahead, ends those that nobody follows and forgets segments that were played long ago.

pub mod decide;
mod document;
mod film;
mod heard;
mod key_frame;
mod making;
mod names;
mod pace;
pub mod playlists;
mod runs;
mod segments;
mod session;
mod subtitles;
pub mod timeline;

pub use decide::{Method, Verdict};
pub use film::{Film, FilmFile};
pub use runs::{InProcess, Places, Probed, Runner, Started, Wheel, Workers};
pub use session::{Limits, Load, Session, Setup, View, original_name};
pub use subtitles::FilmText;
