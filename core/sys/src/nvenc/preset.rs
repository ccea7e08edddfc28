//! Another preset in mid-stream.

use super::config::Codec;
use super::error::{Kind, Result};
use super::layout::{Config, Plain, Reconfigure, rc, reconfigure, set};
use super::library::Structure;
use super::session::{call, preset};
use super::submit::Submitter;
use super::translate;

/// What became of [`Submitter::set_preset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The next picture has the preset, and is an IDR picture.
    Taken,
    /// Pictures would be put in another order, or the driver does not go along: only a session of its own has the
    /// preset. Nothing is changed.
    Anew {
        /// B pictures in a row that it is to be opened with; `None` for what was asked for.
        b_frames: Option<u32>,
    },
}

impl Submitter {
    /// Codes with `preset` from the next picture on, which must begin anew ([`Force::Idr`](super::Force::Idr)).
    ///
    /// The interface changes what a preset says of the search for motion and of rate control in a running session, and
    /// refuses another structure of the stream. `b_frames` is what was asked for when the encoder was opened, `most` how
    /// many B pictures in a row there may be where the preset has its own number.
    ///
    /// # Errors
    /// `Invalid` for a preset that is none; `Lost` and what else the driver says. Nothing is changed then.
    pub fn set_preset(&mut self, preset_number: u8, b_frames: Option<u32>, most: u32) -> Result<Turn> {
        let api = self.version();
        let mut config = self.config.clone();
        (config.preset, config.b_frames) = (preset_number, b_frames);
        // What decoders know of the stream so far may be wrong from here on; H.264 and HEVC write it with each IDR picture
        // of a new session, and whoever packs packets repeats it.
        config.repeat_headers |= config.codec == Codec::Av1;
        let context = self.shared.encoder.context().clone();
        let _current = context.enter()?;
        let base = preset(&self.shared.encoder, &config)?;
        let mut raw = Box::new(translate::config(&config, &base.presetCfg, api));
        let mut limited = None;
        if raw.frameIntervalP - 1 > most as i32 {
            limited = Some(most);
            let limit = super::EncodeConfig { b_frames: limited, ..config.clone() };
            *raw = translate::config(&limit, &base.presetCfg, api);
        }
        if structure(config.codec, &raw) != structure(config.codec, &self.raw) {
            return Ok(Turn::Anew { b_frames: limited });
        }
        let mut all = Reconfigure::zeroed();
        all.version = api.of(Structure::Reconfigure);
        let mut params = self.params;
        params.presetGUID = translate::preset(preset_number)?;
        params.encodeConfig = &mut *raw;
        all.reInitEncodeParams = params;
        set(&mut all.flags, reconfigure::forceIDR, 1);
        match call!(self.shared.encoder, nvEncReconfigureEncoder(&mut all), "change the encoder's preset") {
            Ok(()) => {
                (self.config, self.raw, self.params) = (config, raw, params);
                Ok(Turn::Taken)
            }
            Err(e) if matches!(e.kind(), Kind::Invalid | Kind::Unsupported) => {
                Ok(Turn::Anew { b_frames: limited })
            }
            Err(e) => Err(e),
        }
    }
}

/// What a running session keeps: the order of pictures and what they refer to, and how many wait in it.
fn structure(codec: Codec, c: &Config) -> [u32; 8] {
    // SAFETY: the union holds the configuration of `codec`; all are plain numbers.
    let [idr, b_ref, references, filter] = unsafe {
        match codec {
            Codec::H264 => {
                let own = &c.encodeCodecConfig.h264;
                [own.idrPeriod, own.useBFramesAsRef, own.maxNumRefFrames, own.tfLevel]
            }
            Codec::Hevc => {
                let own = &c.encodeCodecConfig.hevc;
                [own.idrPeriod, own.useBFramesAsRef, own.maxNumRefFramesInDPB, own.tfLevel]
            }
            Codec::Av1 => {
                let own = &c.encodeCodecConfig.av1;
                [own.idrPeriod, own.useBFramesAsRef, own.maxNumRefFramesInDPB, own.tfLevel]
            }
        }
    };
    let ahead = c.rcParams.flags & rc::enableLookahead;
    let depth = u32::from(c.rcParams.lookaheadDepth);
    [c.gopLength, c.frameIntervalP as u32, idr, b_ref, references, filter, ahead, depth]
}
