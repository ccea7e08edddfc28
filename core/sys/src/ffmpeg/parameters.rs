//! Owner of an `AVCodecParameters`.

/// An owned copy of FFmpeg's description of an elementary stream.
#[derive(Clone, Debug)]
pub struct CodecParameters {}
