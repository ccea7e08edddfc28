//! Decoding: `AVCodecContext` of a decoder.

use super::dict::{Dict, Pairs};
use super::error::{AGAIN, EOF, Error, Result, as_ptr, c_option, check, text};
use super::log::Scoped;
use super::{CodecParameters, Frame, HwDevice, Packet, raw};

/// How a codec splits work over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ThreadType {
    /// FFmpeg's choice.
    #[default]
    Auto,
    /// Several frames at a time: fastest, one frame of delay per thread.
    Frame,
    /// Parts of one frame: no delay.
    Slice,
}

impl ThreadType {
    pub(crate) fn to_raw(self) -> i32 {
        match self {
            ThreadType::Auto => 0,
            ThreadType::Frame => 1,
            ThreadType::Slice => 2,
        }
    }
}

/// Frames that a decoder may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Skip {
    /// Decode everything.
    #[default]
    Nothing,
    /// Leave out frames that no other refers to.
    NonReference,
    /// Decode only key frames (thumbnails).
    NonKey,
}

impl Skip {
    fn to_raw(self) -> i32 {
        match self {
            Skip::Nothing => 0,
            Skip::NonReference => 8,
            Skip::NonKey => 32,
        }
    }
}

/// How to decode.
#[derive(Clone, Debug, Default)]
pub struct DecoderOptions<'a> {
    /// The decoder's name; `None`: FFmpeg's first for the codec.
    pub name: Option<String>,
    /// Threads; 0 = as many as cores.
    pub threads: u32,
    /// How threads share the work.
    pub thread_type: ThreadType,
    /// Decode on this device where the stream allows it; see [`Decoder::is_hardware`].
    pub hw: Option<&'a HwDevice>,
    /// Base of the packets' times.
    pub time_base: (i32, i32),
    /// Output frames as soon as possible.
    pub low_delay: bool,
    /// Frames to leave out.
    pub skip: Skip,
    /// Options of the decoder.
    pub options: Pairs,
}

/// A decoder of sound or pictures. One thread at a time; it may use threads of its own.
pub struct Decoder {
    raw: *mut raw::AVCodecContext,
    unused: Pairs,
    _scope: Scoped,
}

// SAFETY: owned alone; codec contexts are not tied to a thread.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Opens a decoder for the stream.
    ///
    /// # Errors
    /// `Unsupported` when there is no such decoder, or it cannot use the device's type; `Invalid`/`InvalidData` for
    /// parameters that it refuses; `Memory`.
    pub fn new(params: &CodecParameters, options: &DecoderOptions<'_>) -> Result<Decoder> {
        let name = c_option(options.name.as_deref(), "a decoder name")?;
        let shown = options.name.clone().unwrap_or_else(|| params.codec_name());
        let cfg = raw::DecoderConfig {
            name: as_ptr(&name),
            hw_device: options.hw.map_or(std::ptr::null_mut(), HwDevice::as_ptr),
            threads: i32::try_from(options.threads).unwrap_or(0),
            thread_type: options.thread_type.to_raw(),
            low_delay: options.low_delay.into(),
            tb_num: options.time_base.0,
            tb_den: options.time_base.1,
            skip_frame: options.skip.to_raw(),
        };
        let mut decoder =
            Decoder { raw: std::ptr::null_mut(), unused: Vec::new(), _scope: Scoped::default() };
        let mut dict = Dict::from_pairs(&options.options)?;
        // SAFETY: live parameters; the config's pointers live through the call.
        let code = unsafe { raw::gsav_decoder_alloc(&mut decoder.raw, params.as_ptr(), &cfg) };
        check(code, format!("decoder {shown}"))?;
        decoder._scope = Scoped::new(decoder.raw.cast());
        for (kind, data) in params.all_side_data() {
            // SAFETY: a context of ours, not opened yet; `len` bytes are copied.
            let code = unsafe { raw::gsav_decoder_side_data(decoder.raw, *kind, data.as_ptr(), data.len()) };
            check(code, "decoder side data")?;
        }
        // SAFETY: as above.
        check(unsafe { raw::gsav_codec_open(decoder.raw, dict.as_mut()) }, format!("open decoder {shown}"))?;
        decoder.unused = dict.pairs();
        Ok(decoder)
    }

    /// Options that the decoder did not know.
    pub fn unused_options(&self) -> &[(String, String)] {
        &self.unused
    }

    /// The decoder's name.
    pub fn name(&self) -> String {
        // SAFETY: an opened context; a static string.
        unsafe { text(raw::gsav_context_name(self.raw)) }
    }

    /// Feeds a packet, or with `None` ends the stream. Receive until `None` first.
    ///
    /// # Errors
    /// `Again` when frames must be received first; `Eof` after the end; `InvalidData` for a damaged packet, after which
    /// decoding can go on.
    pub fn send(&mut self, packet: Option<&Packet>) -> Result<()> {
        // An empty packet would end the stream.
        if packet.is_some_and(|p| p.data().is_empty() && p.side_data().is_empty()) {
            return Ok(());
        }
        let packet = packet.map_or(std::ptr::null_mut(), Packet::as_ptr);
        // SAFETY: an opened context; NULL or a live packet.
        check(unsafe { raw::avcodec_send_packet(self.raw, packet) }, "decode").map(drop)
    }

    /// The next frame; `None` when it needs more input, or after the end.
    ///
    /// # Errors
    /// `InvalidData` and what hardware says; decoding can go on.
    pub fn receive(&mut self) -> Result<Option<Frame>> {
        let mut frame = Frame::empty()?;
        // SAFETY: an opened context and a blank frame.
        match unsafe { raw::avcodec_receive_frame(self.raw, frame.as_ptr()) } {
            AGAIN | EOF => Ok(None),
            code if code < 0 => Err(Error::new(code, "decode")),
            _ => {
                frame.settle_pts();
                frame.straighten()?;
                Ok(Some(frame))
            }
        }
    }

    /// Forgets everything it holds, for a seek or a new start after the end.
    pub fn flush(&mut self) {
        // SAFETY: an opened context.
        unsafe { raw::avcodec_flush_buffers(self.raw) }
    }

    /// Whether frames come from the device that was asked for; false when none was asked for, and until the first
    /// packet has been decoded. It can change with the stream's parameters.
    pub fn is_hardware(&self) -> bool {
        // SAFETY: an opened context.
        unsafe { raw::gsav_decoder_hardware(self.raw) == 1 }
    }

    /// Changes which frames are left out.
    pub fn set_skip(&mut self, skip: Skip) {
        // SAFETY: an opened context held exclusively.
        unsafe { raw::gsav_decoder_skip(self.raw, skip.to_raw()) }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: NULL or ours; freed once.
        unsafe { raw::gsav_decoder_free(&mut self.raw) }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Decoder").field(&self.name()).finish()
    }
}
