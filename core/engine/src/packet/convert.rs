//! Packets across the border to FFmpeg, without copying payloads.

use super::{Coding, Packet, PictureType, SideData};
use crate::error::Result;
use crate::time::TimeBase;
use ghoststream_sys::ffmpeg as av;

/// `AV_PKT_DATA_NEW_EXTRADATA`, the same number in every FFmpeg.
const NEW_EXTRADATA: i32 = 1;
/// `AV_PKT_DATA_SKIP_SAMPLES`, likewise.
const SKIP_SAMPLES: i32 = 11;

/// FFmpeg's number of [`SideData::CueSettings`].
fn cue_settings() -> i32 {
    av::SideDataKind::WebVttSettings.number()
}
/// `AV_PKT_DATA_QUALITY_STATS`, likewise: how encoders tell quantiser and picture type.
const QUALITY: i32 = 8;
/// FFmpeg's unit of quality: a step of the quantiser.
const LAMBDA: f32 = 118.0;

/// What an encoder of FFmpeg's says of a picture.
fn coding(data: &[u8]) -> Option<Coding> {
    let [a, b, c, d, kind, ..] = *data else { return None };
    let quality = u32::from_le_bytes([a, b, c, d]);
    let kind = match kind {
        1 => PictureType::I,
        2 => PictureType::P,
        3 => PictureType::B,
        _ => PictureType::Unknown,
    };
    // Encoders that do not know leave 0.
    let qp = Some(quality).filter(|q| (1..=255 * 118).contains(q)).map(|q| q as f32 / LAMBDA);
    Some(Coding { kind, qp, gpu_time: None })
}

impl Packet {
    /// Takes FFmpeg's packet of a stream whose time base is `base`. The payload is shared, not copied.
    pub(crate) fn from_av(packet: &av::Packet, base: TimeBase) -> Packet {
        let mut told = None;
        let side_data = packet
            .side_data()
            .into_iter()
            .inspect(|(kind, data)| {
                if *kind == QUALITY {
                    told = coding(data);
                }
            })
            .map(|(kind, data)| match (kind, &data[..]) {
                (NEW_EXTRADATA, _) => SideData::NewExtradata(data),
                (SKIP_SAMPLES, [a, b, c, d, e, f, g, h, ..]) => SideData::SkipSamples {
                    start: u32::from_le_bytes([*a, *b, *c, *d]),
                    end: u32::from_le_bytes([*e, *f, *g, *h]),
                },
                _ if kind == cue_settings() => SideData::CueSettings(data),
                _ => SideData::Ffmpeg { kind, data },
            })
            .collect();
        Packet {
            data: packet.bytes(),
            pts: packet.pts(),
            dts: packet.dts(),
            duration: packet.duration(),
            base,
            key: packet.is_key(),
            stream: packet.stream_index(),
            // What an edit list hides lies before time 0 and is cut away there; copies keep it.
            hidden: false,
            seam: None,
            side_data,
            coding: told,
        }
    }

    /// FFmpeg's packet for this one. The payload is shared unless `padded` asks for the zero padding that decoders
    /// read past the end, which only a copy can promise.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Memory`].
    pub(crate) fn to_av(&self, padded: bool) -> Result<av::Packet> {
        let mut packet = if padded {
            av::Packet::from_bytes_padded(&self.data)?
        } else {
            av::Packet::from_bytes(self.data.clone())?
        };
        packet.set_pts(self.pts);
        packet.set_dts(self.dts);
        packet.set_duration(self.duration);
        packet.set_key(self.key);
        packet.set_stream_index(self.stream);
        if self.hidden {
            packet.set_discard(true);
        }
        for side in &self.side_data {
            match side {
                SideData::NewExtradata(data) => packet.add_side_data(NEW_EXTRADATA, data)?,
                SideData::SkipSamples { start, end } => {
                    let mut bytes = [0u8; 10];
                    bytes[..4].copy_from_slice(&start.to_le_bytes());
                    bytes[4..8].copy_from_slice(&end.to_le_bytes());
                    packet.add_side_data(SKIP_SAMPLES, &bytes)?;
                }
                SideData::CueSettings(text) => packet.add_side_data(cue_settings(), text)?,
                SideData::Ffmpeg { kind, data } => packet.add_side_data(*kind, data)?,
            }
        }
        Ok(packet)
    }
}
