//! The most that FFmpeg may allocate in one piece.
//!
//! Demuxers allocate tables by the counts that a header claims: a fragmented MP4 of 8 kB whose `trun` says that it has
//! 70 million samples made 2.3 GB of them. FFmpeg's only bound on that is `av_max_alloc`, one for the process, 2 GB unless
//! set; past it an allocation fails with "Cannot allocate memory".

use super::raw;
use std::sync::Mutex;

/// Bytes in one piece. What is real and large fits: the index of 22 million samples (24 bytes each; four days at 60 frames
/// per second), any picture of 16384x8192 with four bytes per pixel.
/// Fuzzing looks for what else takes memory and stays small itself.
pub(crate) const LARGEST: usize = if cfg!(fuzzing) { 64 << 20 } else { 512 << 20 };

/// What a muxer keeps for each packet until the trailer, rounded up: MP4's table, one piece per track, has 64 bytes.
const PER_PACKET: usize = 128;

static ALLOWED: Mutex<usize> = Mutex::new(0);

/// Sets the bound, for initialisation.
pub(crate) fn limit() {
    raise(LARGEST);
}

/// Raises the bound to what a muxer needs that has taken `packets` packets: recordings of days are no damage.
pub(crate) fn allow_packets(packets: u64) {
    raise(needed(packets));
}

fn needed(packets: u64) -> usize {
    usize::try_from(packets)
        .unwrap_or(usize::MAX)
        .saturating_mul(PER_PACKET)
        .clamp(LARGEST, i32::MAX as usize)
}

fn raise(bytes: usize) {
    let mut allowed = ALLOWED.lock().unwrap_or_else(|e| e.into_inner());
    if bytes > *allowed {
        *allowed = bytes;
        // SAFETY: sets one atomic number; may be called at any time.
        unsafe { raw::av_max_alloc(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_of_days_gets_its_table() {
        assert_eq!(needed(0), LARGEST);
        let packets = 60 * 60 * 60 * 60;
        assert!(needed(packets) >= packets as usize * 64);
        assert_eq!(needed(u64::MAX), i32::MAX as usize);
    }
}
