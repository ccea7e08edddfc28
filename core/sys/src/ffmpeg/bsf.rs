//! Bitstream filters: `AVBSFContext`.

use super::error::{AGAIN, EOF, Error, Result, c_string, check};
use super::log::Scoped;
use super::{CodecParameters, Packet, raw};

/// A chain of bitstream filters (`h264_mp4toannexb`, `hevc_metadata=…,extract_extradata`). One thread at a time.
pub struct Bsf {
    raw: *mut raw::AVBSFContext,
    _scope: Scoped,
}

// SAFETY: owned alone; nothing in it is tied to a thread.
unsafe impl Send for Bsf {}

impl Bsf {
    /// Opens the chain for packets of a stream whose times count in `time_base`.
    ///
    /// # Errors
    /// `Unsupported` for an unknown filter; `Invalid` for bad options or a codec that it does not take.
    pub fn new(chain: &str, params: &CodecParameters, time_base: (i32, i32)) -> Result<Bsf> {
        let text = c_string(chain, "a bitstream filter")?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: a terminated string, live parameters.
        let code =
            unsafe { raw::gsav_bsf_open(&mut raw, text.as_ptr(), params.as_ptr(), time_base.0, time_base.1) };
        check(code, format!("bitstream filter {chain}"))?;
        Ok(Bsf { raw, _scope: Scoped::new(raw.cast_const().cast()) })
    }

    /// The stream after the chain, and the base of its packets' times.
    ///
    /// # Errors
    /// `Memory`.
    pub fn output(&self) -> Result<(CodecParameters, (i32, i32))> {
        let mut base = (0, 1);
        // SAFETY: an opened chain; its parameters live in it.
        let params = unsafe {
            let params = raw::gsav_bsf_params(self.raw, &mut base.0, &mut base.1);
            CodecParameters::copied(params)
        }?;
        Ok((params, base))
    }

    /// Feeds a packet, or with `None` ends the stream. Receive until `None` first.
    ///
    /// # Errors
    /// `Again` when packets must be received first; `InvalidData`.
    pub fn send(&mut self, packet: Option<Packet>) -> Result<()> {
        // A packet without payload would end the stream.
        if packet.as_ref().is_some_and(|p| p.data().is_empty() && p.side_data().is_empty()) {
            return Ok(());
        }
        let ptr = packet.as_ref().map_or(std::ptr::null_mut(), Packet::as_ptr);
        // SAFETY: an opened chain; NULL or a packet of ours, whose content it takes.
        check(unsafe { raw::av_bsf_send_packet(self.raw, ptr) }, "bitstream filter").map(drop)
    }

    /// The next packet; `None` when it needs more input, or after the end.
    ///
    /// # Errors
    /// `InvalidData`.
    pub fn receive(&mut self) -> Result<Option<Packet>> {
        let packet = Packet::new()?;
        // SAFETY: an opened chain and a blank packet.
        match unsafe { raw::av_bsf_receive_packet(self.raw, packet.as_ptr()) } {
            AGAIN | EOF => Ok(None),
            code if code < 0 => Err(Error::new(code, "bitstream filter")),
            _ => Ok(Some(packet)),
        }
    }

    /// Forgets what it holds, for a seek.
    pub fn flush(&mut self) {
        // SAFETY: an opened chain.
        unsafe { raw::av_bsf_flush(self.raw) }
    }
}

impl Drop for Bsf {
    fn drop(&mut self) {
        // SAFETY: ours; freed once.
        unsafe { raw::av_bsf_free(&mut self.raw) }
    }
}
