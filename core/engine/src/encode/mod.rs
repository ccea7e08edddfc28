//! Encoders: one vocabulary ([`crate::spec::VideoSpec`], [`crate::spec::AudioSpec`]) for all of them.
//!
//! What each word of the vocabulary becomes. A dash means that the field is refused by name.
//!
//! | field | libx264 | libx265 | libsvtav1 | libaom-av1 | libvpx-vp9 | mpeg4, mpeg2video | nvenc | vaapi | qsv |
//! |---|---|---|---|---|---|---|---|---|---|
//! | `crf` (default) | crf 0–51 (23) | crf 0–51 (26) | crf 1–63 (32) | crf 0–63 (30) | crf 0–63 (32) | qscale 1–31 (4) | target quality 0–51, av1 0–63 (23/26/32) | global_quality (ICQ, or CQP) | global_quality (ICQ) |
//! | `bitrate` | ABR | ABR | rc=1 | VBR | VBR | ABR | VBR | VBR | VBR |
//! | `max_bitrate`, `buffer` | VBV | VBV | roughly (maxsection-pct; no buffer) | roughly | roughly | VBV | VBV | HRD | HRD |
//! | `crf` with `max_bitrate` | VBV | VBV | capped CRF | bounds the average | bounds the average | — | VBV | — | — |
//! | `cbr` | peak = average | peak = average | rc=2, low delay | end-usage cbr | end-usage cbr | mpeg2video only | CBR | CBR | CBR |
//! | `qp` | qp 0–51 | qp 0–51 | qp 1–63 | crf = qmin = qmax | crf = qmin = qmax | qscale | constant quantiser 0–51, av1 0–255 | CQP | CQP |
//! | `lossless` | qp 0 (high444) | lossless=1 | — | lossless=1 | lossless=1 | — | tune lossless (not av1) | — | — |
//! | `two_pass` | yes | yes | — | yes | yes | — | — | — | — |
//! | `tune` ll | no B, 8 frames ahead | no B, 8 frames ahead | low delay | lag 0 | realtime, lag 0 | — | tune ll, no B | no B, depth 1 | no B, depth 1 |
//! | `tune` ull | zerolatency | zerolatency | low delay | realtime, lag 0 | realtime, lag 0 | — | tune ull, nothing reordered | as ll | as ll, no lookahead |
//! | `b_frames` | 0–16 | 0–16 | 0 only | 0 only | 0 only | 0–16 | as the device can | 0–7 | 0–7 |
//! | `lookahead` | rc-lookahead | rc-lookahead | lookahead | lag-in-frames | lag-in-frames | — | yes | — | look_ahead_depth |
//! | `level` | yes | yes | yes | — | yes | — | yes | yes | h264 only |
//! | `bit_depth` | 8, 10 | 8, 10, 12 | 8, 10 | 8, 10 | 8, 10, 12 | 8 | 8, 10 as the device can | 8; hevc, av1 also 10 | 8; hevc, av1 also 10 |
//! | forced key frame | yes | yes | with crf or qp; else reopened | reopened | yes | yes | yes | yes | yes |
//! | live bit rate | with `max_bitrate` or `cbr` | — | reopened | reopened | reopened | — | yes | — | — |
//!
//! | preset | libx264, libx265 | libsvtav1 | libaom-av1 | libvpx-vp9 | nvenc | vaapi compression_level | qsv | amf | vulkan quality |
//! |---|---|---|---|---|---|---|---|---|---|
//! | p1 | ultrafast | 10 | 8 | 8 | p1 | 7 | veryfast | speed | 0 |
//! | p2 | superfast | 10 | 7 | 6 | p2 | 6 | faster | speed | 0 |
//! | p3 | veryfast | 9 | 6 | 5 | p3 | 5 | fast | balanced | 1 |
//! | p4 (default) | medium | 8 | 5 | 4 | p4 | 4 | medium | balanced | 1 |
//! | p5 | slow | 6 | 4 | 3 | p5 | 3 | slow | balanced | 2 |
//! | p6 | slower | 4 | 3 | 2 | p6 | 2 | slower | quality | 2 |
//! | p7 | veryslow | 2 | 2 | 1 | p7 | 1 | veryslow | quality | 3 |
//!
//! - nvenc is driven directly ([`nvenc`]), without FFmpeg; `encoder: nvenc` stands for it whatever the codec, and
//!   `h264_nvenc`, `hevc_nvenc`, `av1_nvenc` mean the same. What a device lacks is refused by the field's name before a
//!   session opens. Its `options` have the names of FFmpeg's wrappers: `tune` (also `uhq`), `multipass`, `b_ref_mode`,
//!   `lookahead_level`, `b_adapt`, `no-scenecut`, `spatial-aq`, `aq-strength`, `temporal-aq`, `weighted_pred`, `tf_level`,
//!   `intra-refresh`, `single-slice-intra-refresh`, `qmin`, `qmax`, `tier`, `coder`, `aud`, `cbr_padding`, `dpb_size`,
//!   `highbitdepth`, `nonref_p`, `strict_gop`, `zerolatency`, `split_encode_mode`, `surfaces` and `gpu`.
//! - ffv1, png and rawvideo never lose anything and take no rate control; mjpeg takes `crf` 1–31 (3) and `bitrate`;
//!   prores_ks takes `profile` only (proxy, lt, standard, hq, 4444, 4444xq). They make every frame a key frame.
//! - amf's `crf` is a constant quantiser; videotoolbox's `crf` is its own scale, 1 to 100, higher is better (55), and so is
//!   libwebp's, 0 to 100 (75).
//! - `cbr` bounds the peak to the average over `buffer`; it adds no padding to pictures that need less. Padding is the
//!   encoder's own option (`nal-hrd: cbr`).
//! - SVT-AV1 from 2 on has no average rate in low delay (`tune` ll and ull, `b_frames: 0`): it gets a constant one, rc=2.
//! - mpeg4 and mpeg2video have times on the grid of the frame rate only: variable rates are rounded to it. They have no
//!   two-pass mode because FFmpeg 5.1 corrupts its heap when their second pass finds the rate too low.
//! - mjpeg pictures are full range ([`format::input_range`]); limited ones are coded as they are and marked as such.
//! - libvpx and libaom give no packets in a first pass.
//! - "reopened": the encoder is drained and opened again, so the picture goes on without a loss but rate control starts
//!   anew. AV1 and VP9 carry their headers in band, which is what makes this possible; of H.264, HEVC and MPEG-4 each key
//!   packet carries the new ones from then on. On a grid of even frames it is the encoder's own interval that makes the key
//!   frames, and it is opened again only where the grid is not a whole number of frames and they have drifted apart.
//! - Another size or frame rate while it runs is a reopening for all but nvenc, at the next frame, which is a key frame.
//!   mpeg4 and mpeg2video keep their rate. Sizes change where the container carries it ([`crate::job::Change::width`]).
//! - `options` come last and win; parameters of the library's own option (`x264-params`, `x265-params`,
//!   `svtav1-params`, `aom-params`) are joined with what the other fields set.

pub mod audio;
mod containers;
pub mod failover;
pub mod format;
mod grid;
pub(crate) mod level;
pub mod nvenc;
mod pass;
pub mod presets;
pub mod probe;
pub mod rate;
pub mod select;
mod stream;
mod svt;
#[cfg(test)]
mod tests;
pub mod video;
mod x264;

pub use audio::AudioEncoder;
pub use grid::KeyGrid;
pub use pass::{Pass, PassLog};
pub use video::{VideoEncode, VideoEncoder};

use crate::frame::Frame;
use crate::packet::{Packet, StreamInfo};
use crate::stage::Stage;

/// An encoder of pictures or sound.
pub trait Encoder: Stage<Frame, Packet> {
    /// The stream it makes; known from the first frame on, also after the end.
    fn stream(&self) -> Option<&StreamInfo>;

    /// Encoder and rate control in a few words, for plans and statistics.
    fn description(&self) -> String;

    /// Emits the packets that were made since the last call. Encoders that make them only while they are pushed have
    /// none.
    ///
    /// # Errors
    /// As for [`Stage::push`].
    fn poll(&mut self, _: &mut dyn crate::stage::Outlet<Packet>) -> crate::Result<()> {
        Ok(())
    }

    /// Whether packets may count their times in another base than [`Encoder::stream`] says, after a change of the frame rate:
    /// each says in which.
    fn changes_base(&self) -> bool {
        false
    }

    /// `wake` is called, on any thread, whenever [`Encoder::poll`] has something to emit, so that a packet need not wait
    /// for the next frame. Encoders without threads of their own never call it.
    fn wake(&mut self, _: std::sync::Arc<dyn Fn() + Send + Sync>) {}
}
