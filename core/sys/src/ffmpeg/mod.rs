//! FFmpeg (libavformat, libavcodec, libavfilter, libavutil, libavdevice), 5.1 to 9.
//!
//! Tested on every change with the FFmpeg that is installed; the whole workspace was built and the engine's tests run
//! with 5.1.9, 7.1.5, 8.1.2 and 9.0.2 of Debian, and `tests/ffmpeg` compiles the shim against the newest headers.
//!
//! One file per noun, safe owners only. The C side is `shim/`, which hides what changed between FFmpeg's majors; there is
//! no bindgen and no libclang. Owners are `Send` and used by one thread at a time; [`Frame`] and [`Packet`] are `Sync`.

mod bsf;
mod buffer;
mod colour;
mod cuda;
mod decoder;
mod demuxer;
mod dict;
#[cfg(unix)]
mod dmabuf;
mod encoder;
mod error;
mod filter;
mod formats;
mod frame;
mod hdr;
mod hwdevice;
mod interrupt;
mod io;
mod log;
mod memory;
mod muxer;
mod packet;
mod parameters;
mod pool;
mod quiet;
mod raw;
mod registry;
mod subtitle;
mod svt;
mod url;

pub use bsf::Bsf;
pub use colour::{
    ChromaLocation, Colour, ColourRange, ContentLight, DolbyVision, HdrMetadata, MasteringDisplay,
};
pub use cuda::ForeignPlane;
pub use decoder::{Decoder, DecoderOptions, Skip, ThreadType};
pub use demuxer::{Chapter, Demuxer, DemuxerOptions, Disposition, Program, StreamDesc};
pub use dict::Pairs;
#[cfg(unix)]
pub use dmabuf::{DmaBuf, DmaBufPicture, DmaBufPlane, format_of_fourcc, fourcc_of};
pub use encoder::{Encoder, EncoderOptions, Pass, supports_live_rate};
pub use error::{Error, Kind, Result};
pub use filter::{FilterGraph, FilterInput, FilterOutput, OutputParams};
pub use formats::{ChannelLayout, PixelDescriptor, PixelFormat, SampleFormat};
pub use frame::{Frame, PictureType};
pub use hwdevice::{HwDevice, HwFrames};
pub use interrupt::{Interrupt, Opening, Permit};
pub use io::{Input, Output, ReadSeek, WriteSeek};
pub use log::{Complaints, LogLevel, LogRecord, LogScope, log_scope, log_write, set_log_callback};
pub use muxer::{FormatFlags, Muxer, MuxerOptions, StreamOptions, default_codec, format_flags, query_codec};
pub use packet::{Packet, SideDataKind};
pub use parameters::{CodecParameters, FieldOrder, MediaType, ParameterValues};
pub use pool::FramePool;
pub use quiet::quiet_encoders;
pub use registry::{
    CoderInfo, Versions, bitstream_filters, codec_kind, configuration, decoder_info, decoders,
    default_decoder, default_encoder, demuxers, device_decoder, encoder_info, encoders, filters,
    format_extensions, guess_format, has_bitstream_filter, has_decoder, has_demuxer, has_encoder, has_filter,
    has_muxer, hw_device_types, input_protocols, is_text_subtitle, license, muxers, output_protocols,
    supported_formats, supported_layouts, supported_sample_formats, supported_sample_rates, versions,
};
pub use subtitle::{SubtitleDecoder, SubtitleEvent, SubtitleRect};
pub use url::Url;
