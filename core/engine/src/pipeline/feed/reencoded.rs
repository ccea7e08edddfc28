//! Sound that goes on in another form than it began with, brought back into the first: where we chose to copy it, which
//! nobody can know to be wrong before it changes.

use crate::decode::{AvDecoder, DecodeOptions};
use crate::encode::audio::{AudioEncoder, wanted};
use crate::encode::select;
use crate::error::{Error, Result};
use crate::filter::{AudioConform, AudioTarget};
use crate::frame::Frame;
use crate::package::bitstream::aac::Config;
use crate::packet::{Codec, Packet, StreamInfo};
use crate::spec::AudioSpec;
use crate::stage::{Outlet, OutletFn, Stage};
use crate::time::{Rounding, TimeBase, rescale};
use bytes::Bytes;

/// Decodes AAC with ADTS headers and encodes it again: the same codec, rate and channels throughout.
pub(super) struct Reencoded {
    decoder: AvDecoder,
    conform: AudioConform,
    encoder: AudioEncoder,
    config: Config,
    base: TimeBase,
    /// What comes before is the encoder's priming, and there are packets of the copy.
    from: i64,
}

impl Reencoded {
    /// For `stream`, which was sound as `config` says until `from`, in its ticks.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unsupported`] for sound that no encoder makes here.
    pub fn new(stream: &StreamInfo, config: &Config, from: i64) -> Result<Self> {
        let channels = config.channels().filter(|_| config.core_type == 2);
        let channels = channels.ok_or_else(|| Error::unsupported("no encoder makes what came before"))?;
        let spec = AudioSpec {
            codec: Some(Codec::Aac),
            channels: Some(channels),
            sample_rate: Some(config.core_rate),
            ..AudioSpec::new()
        };
        let name = select::choose_audio(&Codec::Aac, None)?;
        let source =
            stream.audio.as_ref().ok_or_else(|| Error::unsupported("what came before is not known"))?;
        let wanted = wanted(&name, &spec, source)?;
        let conform = AudioConform::new(AudioTarget {
            params: wanted.params.clone(),
            frame_size: Some(wanted.frame_size).filter(|n| *n > 0),
            gain_db: None,
            loudness: None,
            sync: true,
            begin: None,
            until: None,
        })?;
        Ok(Reencoded {
            decoder: AvDecoder::new(stream, &DecodeOptions::default())?,
            conform,
            encoder: AudioEncoder::new(&name, &spec, wanted)?,
            config: config.clone(),
            base: stream.time_base,
            from,
        })
    }

    /// Takes a packet of the source and appends what is made of it to `out`.
    ///
    /// # Errors
    /// Those of the decoder and the encoder.
    pub fn push(&mut self, packet: Packet, out: &mut Vec<Packet>) -> Result<()> {
        let mut frames = Vec::new();
        self.decoder.push(packet, &mut frames)?;
        self.encode(frames, out)
    }

    /// As [`Reencoded::push`], of what is still inside.
    ///
    /// # Errors
    /// As [`Reencoded::push`].
    pub fn finish(&mut self, out: &mut Vec<Packet>) -> Result<()> {
        let mut frames = Vec::new();
        self.decoder.finish(&mut frames)?;
        self.encode(frames, out)?;
        let mut made = Vec::new();
        let encoder = &mut self.encoder;
        self.conform.finish(&mut OutletFn(|f| encoder.push(f, &mut made)))?;
        self.encoder.finish(&mut made)?;
        self.deliver(made, out)
    }

    fn encode(&mut self, frames: Vec<Frame>, out: &mut Vec<Packet>) -> Result<()> {
        let mut made = Vec::new();
        for frame in frames {
            let encoder = &mut self.encoder;
            self.conform.push(frame, &mut OutletFn(|f| encoder.push(f, &mut made)))?;
        }
        self.deliver(made, out)
    }

    /// Brings packets into the form of the copied ones.
    fn deliver(&self, made: Vec<Packet>, out: &mut Vec<Packet>) -> Result<()> {
        for packet in made {
            let to = |t: i64| rescale(t, packet.base, self.base, Rounding::Nearest);
            let Some(pts) = packet.pts.map(to).filter(|pts| *pts >= self.from) else { continue };
            let mut data = self.config.adts_header(packet.data.len())?.to_vec();
            data.extend_from_slice(&packet.data);
            let duration = to(packet.duration);
            out.emit(Packet::new(Bytes::from(data), pts, duration, self.base))?;
        }
        Ok(())
    }
}
