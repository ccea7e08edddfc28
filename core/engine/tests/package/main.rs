//! The packagers against FFmpeg: its clips in, our segments and playlists out, read again by its demuxers and decoders.

mod cutting;
mod facts;
mod garbage;
mod media;
mod playlists;
mod remux;
