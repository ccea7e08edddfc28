//! What an opened encoder says about its stream.

use crate::packet::{Codec, FieldOrder};
use ghoststream_sys::ffmpeg as av;

/// Profile and level: FFmpeg's, else from the parameter sets in the extradata.
pub(super) fn profile_level(codec: &Codec, values: &av::ParameterValues) -> (Option<i32>, Option<i32>) {
    let (profile, level) = match codec {
        Codec::H264 => h264(&values.extradata),
        Codec::Hevc => hevc(&values.extradata),
        _ => None,
    }
    .map_or((None, None), |(profile, level)| (Some(profile), Some(level)));
    (profile.or(values.profile), level.or(values.level))
}

/// `AV_PROFILE_H264_CONSTRAINED` and `AV_PROFILE_H264_INTRA`.
const CONSTRAINED: i32 = 1 << 9;
const INTRA: i32 = 1 << 11;

fn h264(extradata: &[u8]) -> Option<(i32, i32)> {
    let sps = nal(extradata, |header| header & 0x1f == 7)?;
    let (idc, constraints, level) = (*sps.get(1)?, *sps.get(2)?, *sps.get(3)?);
    let mut profile = i32::from(idc);
    if idc == 66 && constraints & 0x40 != 0 {
        profile |= CONSTRAINED;
    }
    if matches!(idc, 110 | 122 | 244) && constraints & 0x10 != 0 {
        profile |= INTRA;
    }
    Some((profile, level.into()))
}

fn hevc(extradata: &[u8]) -> Option<(i32, i32)> {
    let sps = nal(extradata, |header| header >> 1 & 0x3f == 33)?;
    // Two bytes of header, one of ids, then profile_tier_level: space, tier and profile; 4 of compatibility; 6 of
    // constraints; level.
    let clean: Vec<u8> = without_emulation(sps).take(15).collect();
    Some((i32::from(clean.get(3)? & 0x1f), i32::from(*clean.get(14)?)))
}

/// The first NAL unit in Annex B `data` whose first byte `is` right.
fn nal(data: &[u8], is: impl Fn(u8) -> bool) -> Option<&[u8]> {
    let starts: Vec<usize> =
        data.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(i, _)| i + 3).collect();
    starts.iter().enumerate().find_map(|(n, start)| {
        let end = starts.get(n + 1).map_or(data.len(), |next| next - 3);
        data.get(*start..end).filter(|unit| unit.first().is_some_and(|header| is(*header)))
    })
}

/// Drops the 3 of every 0 0 3.
fn without_emulation(data: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut zeros = 0;
    data.iter().filter_map(move |byte| {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            return None;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        Some(*byte)
    })
}

pub(super) fn field_order(order: av::FieldOrder) -> FieldOrder {
    match order {
        av::FieldOrder::Unknown => FieldOrder::Unknown,
        av::FieldOrder::Progressive => FieldOrder::Progressive,
        av::FieldOrder::TopFirst => FieldOrder::TopFirst,
        av::FieldOrder::BottomFirst => FieldOrder::BottomFirst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_sets_tell_profile_and_level() {
        let avc = [0, 0, 0, 1, 0x67, 100, 0, 41, 0xac, 0, 0, 0, 1, 0x68, 0xee];
        assert_eq!(h264(&avc), Some((100, 41)));
        let hevc_sps = [0, 0, 1, 0x42, 1, 1, 2, 0x20, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 93, 0xa0];
        assert_eq!(hevc(&hevc_sps), Some((2, 93)));
        assert_eq!(h264(&[0, 0, 1]), None);
        assert_eq!(h264(&[1, 100, 0, 41]), None);
    }
}
