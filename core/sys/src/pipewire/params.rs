//! The parameters that streams agree on, as PipeWire's serialised objects.

use super::{CameraOptions, DmaBufFormat, Error, Kind};
use crate::ffmpeg::PixelFormat;
use pipewire::spa;
use spa::param::ParamType;
use spa::param::format::{FormatProperties, MediaSubtype, MediaType};
use spa::param::video::VideoFormat as Raw;
use spa::pod::deserialize::PodDeserializer;
use spa::pod::serialize::PodSerializer;
use spa::pod::{ChoiceValue, Object, Pod, Property, PropertyFlags, Value};
use spa::utils::{Choice, ChoiceEnum, ChoiceFlags, Fraction, Id, Rectangle, SpaTypes};

/// PipeWire's video formats and FFmpeg's names of them, those that cost least behind first.
const FORMATS: [(Raw, &str); 16] = [
    (Raw::BGRx, "bgr0"),
    (Raw::RGBx, "rgb0"),
    (Raw::BGRA, "bgra"),
    (Raw::RGBA, "rgba"),
    (Raw::xRGB, "0rgb"),
    (Raw::xBGR, "0bgr"),
    (Raw::ARGB, "argb"),
    (Raw::ABGR, "abgr"),
    (Raw::NV12, "nv12"),
    (Raw::I420, "yuv420p"),
    (Raw::YUY2, "yuyv422"),
    (Raw::UYVY, "uyvy422"),
    (Raw::RGB, "rgb24"),
    (Raw::BGR, "bgr24"),
    (Raw::xRGB_210LE, "x2rgb10le"),
    (Raw::xBGR_210LE, "x2bgr10le"),
];

/// FFmpeg's name of a format of PipeWire's.
pub(super) fn pixel_format(raw: Raw) -> Option<PixelFormat> {
    let (_, name) = FORMATS.iter().find(|(r, _)| *r == raw)?;
    PixelFormat::from_name(name)
}

/// PipeWire's name of a format of FFmpeg's.
pub(super) fn raw_format(format: PixelFormat) -> Option<Raw> {
    FORMATS.iter().find(|(_, name)| *name == format.name()).map(|(raw, _)| *raw)
}

/// Serialised parameters.
pub(super) struct Params(Vec<Vec<u8>>);

impl Params {
    /// # Errors
    /// [`Kind::Memory`].
    pub fn new(objects: impl IntoIterator<Item = Object>) -> Result<Params, Error> {
        let bytes = objects.into_iter().map(|object| {
            let out = std::io::Cursor::new(Vec::new());
            let (out, _) = PodSerializer::serialize(out, &Value::Object(object))
                .map_err(|e| Error::new(Kind::Memory, format!("parameters for PipeWire: {e:?}")))?;
            Ok(out.into_inner())
        });
        Ok(Params(bytes.collect::<Result<_, Error>>()?))
    }

    /// What PipeWire takes.
    pub fn pods(&self) -> Vec<&Pod> {
        self.0.iter().filter_map(|bytes| Pod::from_bytes(bytes)).collect()
    }
}

fn property(key: u32, value: Value) -> Property {
    Property::new(key, value)
}

fn id(key: FormatProperties, value: u32) -> Property {
    property(key.as_raw(), Value::Id(Id(value)))
}

/// Any format of video that is understood, or exactly one.
pub(super) enum Wanted<'a> {
    /// Any of these in host memory.
    Host,
    /// One with any of these modifiers, one of which is to be picked by us.
    Modifiers(&'a DmaBufFormat),
    /// One with exactly this modifier.
    Modifier(PixelFormat, u64),
}

/// The format of a stream of pictures that is captured.
pub(super) fn capture_format(wanted: &Wanted, max_rate: (u32, u32)) -> Option<Object> {
    let mut properties = vec![
        id(FormatProperties::MediaType, MediaType::Video.as_raw()),
        id(FormatProperties::MediaSubtype, MediaSubtype::Raw.as_raw()),
    ];
    match wanted {
        Wanted::Host => properties.push(property(
            FormatProperties::VideoFormat.as_raw(),
            Value::Choice(ChoiceValue::Id(choice(ChoiceEnum::Enum {
                default: Id(FORMATS[0].0.as_raw()),
                alternatives: FORMATS.iter().map(|(raw, _)| Id(raw.as_raw())).collect(),
            }))),
        )),
        Wanted::Modifiers(dmabuf) => {
            properties.push(id(FormatProperties::VideoFormat, raw_format(dmabuf.format)?.as_raw()));
            let modifiers: Vec<i64> = dmabuf.modifiers.iter().map(|m| m.cast_signed()).collect();
            let mut modifier = property(
                FormatProperties::VideoModifier.as_raw(),
                Value::Choice(ChoiceValue::Long(choice(ChoiceEnum::Enum {
                    default: *modifiers.first()?,
                    alternatives: modifiers,
                }))),
            );
            modifier.flags = PropertyFlags::MANDATORY | PropertyFlags::DONT_FIXATE;
            properties.push(modifier);
        }
        Wanted::Modifier(format, modifier) => {
            properties.push(id(FormatProperties::VideoFormat, raw_format(*format)?.as_raw()));
            let value = Value::Long(modifier.cast_signed());
            let mut modifier = property(FormatProperties::VideoModifier.as_raw(), value);
            modifier.flags = PropertyFlags::MANDATORY;
            properties.push(modifier);
        }
    }
    properties.push(property(
        FormatProperties::VideoSize.as_raw(),
        Value::Choice(ChoiceValue::Rectangle(choice(ChoiceEnum::Range {
            default: Rectangle { width: 1920, height: 1080 },
            min: Rectangle { width: 1, height: 1 },
            max: Rectangle { width: 16384, height: 16384 },
        }))),
    ));
    let max = Fraction { num: max_rate.0, denom: max_rate.1 };
    properties.push(property(
        FormatProperties::VideoFramerate.as_raw(),
        Value::Choice(ChoiceValue::Fraction(choice(ChoiceEnum::Range {
            default: max,
            min: Fraction { num: 0, denom: 1 },
            max,
        }))),
    ));
    Some(object(SpaTypes::ObjectParamFormat, ParamType::EnumFormat, properties))
}

fn choice<T: spa::pod::CanonicalFixedSizedPod>(choice: ChoiceEnum<T>) -> Choice<T> {
    Choice(ChoiceFlags::empty(), choice)
}

fn object(kind: SpaTypes, param: ParamType, properties: Vec<Property>) -> Object {
    Object { type_: kind.as_raw(), id: param.as_raw(), properties }
}

/// Which memory buffers may be in, and how many there may be.
pub(super) fn buffers(types: &[u32], count: (i32, i32, i32), size: Option<(i32, i32)>) -> Object {
    use spa::sys;
    let flags = types.iter().fold(0, |all, t| all | (1 << t));
    let mut properties = vec![
        property(
            sys::SPA_PARAM_BUFFERS_buffers,
            Value::Choice(ChoiceValue::Int(choice(ChoiceEnum::Range {
                default: count.0,
                min: count.1,
                max: count.2,
            }))),
        ),
        property(
            sys::SPA_PARAM_BUFFERS_dataType,
            Value::Choice(ChoiceValue::Int(choice(ChoiceEnum::Flags { default: flags, flags: vec![flags] }))),
        ),
    ];
    if let Some((size, stride)) = size {
        properties.push(property(sys::SPA_PARAM_BUFFERS_blocks, Value::Int(1)));
        properties.push(property(sys::SPA_PARAM_BUFFERS_size, Value::Int(size)));
        properties.push(property(sys::SPA_PARAM_BUFFERS_stride, Value::Int(stride)));
    }
    object(SpaTypes::ObjectParamBuffers, ParamType::Buffers, properties)
}

/// A kind of facts beside each buffer, and the room for them: usual, least, most.
pub(super) fn meta(kind: u32, size: (usize, usize, usize)) -> Object {
    use spa::sys;
    let [usual, least, most] = [size.0, size.1, size.2].map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let room = if least == most {
        Value::Int(usual)
    } else {
        Value::Choice(ChoiceValue::Int(choice(ChoiceEnum::Range { default: usual, min: least, max: most })))
    };
    let properties = vec![
        property(sys::SPA_PARAM_META_type, Value::Id(Id(kind))),
        property(sys::SPA_PARAM_META_size, room),
    ];
    object(SpaTypes::ObjectParamMeta, ParamType::Meta, properties)
}

/// What a format says of modifiers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Modifier {
    /// Nothing: host memory.
    None,
    /// One of these is to be picked and told.
    Pick(Vec<u64>),
    /// That one.
    Agreed(u64),
}

/// Reads the modifier out of a format that the other side proposes.
pub(super) fn modifier(format: &Pod) -> Modifier {
    let Ok((_, Value::Object(object))) = PodDeserializer::deserialize_any_from(format.as_bytes()) else {
        return Modifier::None;
    };
    let key = FormatProperties::VideoModifier.as_raw();
    let Some(found) = object.properties.into_iter().find(|p| p.key == key) else { return Modifier::None };
    let unsigned = |values: Vec<i64>| values.into_iter().map(i64::cast_unsigned).collect::<Vec<_>>();
    match found.value {
        Value::Long(one) => Modifier::Agreed(one.cast_unsigned()),
        Value::Choice(ChoiceValue::Long(Choice(_, choice))) => {
            let mut all = match choice {
                ChoiceEnum::None(one) => return Modifier::Agreed(one.cast_unsigned()),
                ChoiceEnum::Enum { default, alternatives } if alternatives.is_empty() => {
                    unsigned(vec![default])
                }
                ChoiceEnum::Enum { alternatives, .. } => unsigned(alternatives),
                _ => Vec::new(),
            };
            all.dedup();
            match (found.flags.contains(PropertyFlags::DONT_FIXATE), all.as_slice()) {
                (_, []) => Modifier::None,
                (false, [first, ..]) => Modifier::Agreed(*first),
                (true, _) => Modifier::Pick(all),
            }
        }
        _ => Modifier::None,
    }
}

/// The format of sound: 32-bit floats, one after the other, at a rate and with channels of our own.
pub(super) fn sound_format(rate: u32, channels: &[u32]) -> Object {
    let mut info = spa::param::audio::AudioInfoRaw::new();
    info.set_format(spa::param::audio::AudioFormat::F32LE);
    info.set_rate(rate);
    info.set_channels(channels.len() as u32);
    let mut position = [0; spa::param::audio::MAX_CHANNELS];
    for (slot, channel) in position.iter_mut().zip(channels) {
        *slot = *channel;
    }
    info.set_position(position);
    object(SpaTypes::ObjectParamFormat, ParamType::EnumFormat, info.into())
}

/// The format of a camera's pictures.
pub(super) fn camera_format(raw: Raw, options: &CameraOptions) -> Object {
    use spa::sys;
    let (width, height) = (options.width, options.height);
    let matrix =
        if options.bt709 { sys::SPA_VIDEO_COLOR_MATRIX_BT709 } else { sys::SPA_VIDEO_COLOR_MATRIX_BT601 };
    let properties = vec![
        id(FormatProperties::MediaType, MediaType::Video.as_raw()),
        id(FormatProperties::MediaSubtype, MediaSubtype::Raw.as_raw()),
        id(FormatProperties::VideoFormat, raw.as_raw()),
        property(FormatProperties::VideoSize.as_raw(), Value::Rectangle(Rectangle { width, height })),
        property(
            FormatProperties::VideoFramerate.as_raw(),
            Value::Fraction(Fraction { num: options.rate.0, denom: options.rate.1 }),
        ),
        id(FormatProperties::VideoColorRange, sys::SPA_VIDEO_COLOR_RANGE_16_235),
        id(FormatProperties::VideoColorMatrix, matrix),
        id(FormatProperties::VideoTransferFunction, sys::SPA_VIDEO_TRANSFER_BT709),
        id(FormatProperties::VideoColorPrimaries, sys::SPA_VIDEO_COLOR_PRIMARIES_BT709),
    ];
    object(SpaTypes::ObjectParamFormat, ParamType::EnumFormat, properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(object: Object) -> Modifier {
        let params = Params::new([object]).unwrap();
        modifier(params.pods()[0])
    }

    #[test]
    fn modifiers_are_offered_picked_and_agreed() {
        let bgr0 = PixelFormat::from_name("bgr0").unwrap();
        let linear_and_tiled = DmaBufFormat { format: bgr0, modifiers: vec![0x0300_0000_0060_6014, 0] };
        let offer = capture_format(&Wanted::Modifiers(&linear_and_tiled), (60, 1)).unwrap();
        assert_eq!(read(offer), Modifier::Pick(vec![0x0300_0000_0060_6014, 0]));
        let fixed = capture_format(&Wanted::Modifier(bgr0, u64::MAX >> 8), (60, 1)).unwrap();
        assert_eq!(read(fixed), Modifier::Agreed(u64::MAX >> 8));
        assert_eq!(read(capture_format(&Wanted::Host, (60, 1)).unwrap()), Modifier::None);
    }

    #[test]
    fn every_format_has_two_names() {
        for (raw, name) in FORMATS {
            let format = pixel_format(raw).unwrap_or_else(|| panic!("FFmpeg has no {name}"));
            assert_eq!(raw_format(format), Some(raw));
        }
    }
}
