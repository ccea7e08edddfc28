//! AMF0, as far as commands and metadata use it, read from strangers. Sans-IO.
//!
//! Not the protocol crate's: it follows references by copying what they mean, so that a few kilobytes of arrays of references
//! to arrays of references become more memory than any machine has. Nobody's encoder writes references; here they are refused.

use bytes::Buf;
use rtmp_rs::amf::AmfValue;
use std::collections::HashMap;
use std::fmt;

/// How deep values may lie in each other; metadata has two floors.
const DEPTH: usize = 16;
/// The longest message with values, in bytes.
const LONGEST: usize = 256 << 10;

/// Why values are not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// They end in the middle.
    Short,
    /// More bytes than are looked at.
    Long,
    /// Values in values in values.
    Deep,
    /// A reference to another value.
    Reference,
    /// A marker that none has.
    Marker(u8),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Short => f.write_str("AMF: it ends within a value"),
            Broken::Long => write!(f, "AMF: more than {LONGEST} bytes"),
            Broken::Deep => write!(f, "AMF: values nested deeper than {DEPTH}"),
            Broken::Reference => f.write_str("AMF: references are not followed"),
            Broken::Marker(marker) => write!(f, "AMF: no value begins with {marker}"),
        }
    }
}

/// All values of a message. What follows the last whole one, when there was one, is left out as encoders cut messages off.
///
/// # Errors
/// [`Broken`].
pub fn values(mut data: &[u8]) -> Result<Vec<AmfValue>, Broken> {
    if data.len() > LONGEST {
        return Err(Broken::Long);
    }
    let mut all = Vec::new();
    while !data.is_empty() {
        match value(&mut data, 0) {
            Ok(value) => all.push(value),
            Err(Broken::Short) if !all.is_empty() => break,
            Err(e) => return Err(e),
        }
    }
    Ok(all)
}

fn value(data: &mut &[u8], depth: usize) -> Result<AmfValue, Broken> {
    if depth > DEPTH {
        return Err(Broken::Deep);
    }
    Ok(match data.try_get_u8().map_err(|_| Broken::Short)? {
        0 => AmfValue::Number(number(data)?),
        1 => AmfValue::Boolean(data.try_get_u8().map_err(|_| Broken::Short)? != 0),
        2 => AmfValue::String(short(data)?),
        3 => AmfValue::Object(fields(data, depth)?),
        5 => AmfValue::Null,
        // Undefined, unsupported, and a switch to AMF3, which nobody makes here.
        6 | 13 | 17 => AmfValue::Undefined,
        7 => return Err(Broken::Reference),
        8 => {
            // How many there are is only a hint.
            let _hint = count(data)?;
            AmfValue::EcmaArray(fields(data, depth)?)
        }
        10 => {
            let mut all = Vec::new();
            // Each takes a byte at least, so that the number promises nothing.
            for _ in 0..count(data)? {
                all.push(value(data, depth + 1)?);
            }
            AmfValue::Array(all)
        }
        11 => {
            let date = number(data)?;
            let _zone = data.try_get_u16().map_err(|_| Broken::Short)?;
            AmfValue::Date(date)
        }
        12 => AmfValue::String(long(data)?),
        15 => AmfValue::Xml(long(data)?),
        16 => {
            let class_name = short(data)?;
            AmfValue::TypedObject { class_name, properties: fields(data, depth)? }
        }
        other => return Err(Broken::Marker(other)),
    })
}

/// Names and values, up to the empty name with the mark of the end behind it, which some encoders leave out.
fn fields(data: &mut &[u8], depth: usize) -> Result<HashMap<String, AmfValue>, Broken> {
    let mut all = HashMap::new();
    loop {
        let name = short(data)?;
        if name.is_empty() {
            if data.first() == Some(&9) {
                data.advance(1);
            }
            return Ok(all);
        }
        all.insert(name, value(data, depth + 1)?);
    }
}

fn number(data: &mut &[u8]) -> Result<f64, Broken> {
    data.try_get_f64().map_err(|_| Broken::Short)
}

fn count(data: &mut &[u8]) -> Result<u32, Broken> {
    data.try_get_u32().map_err(|_| Broken::Short)
}

fn short(data: &mut &[u8]) -> Result<String, Broken> {
    let length = data.try_get_u16().map_err(|_| Broken::Short)?;
    text(data, length.into())
}

fn long(data: &mut &[u8]) -> Result<String, Broken> {
    let length = count(data)?;
    text(data, length as usize)
}

fn text(data: &mut &[u8], length: usize) -> Result<String, Broken> {
    let (text, rest) = data.split_at_checked(length).ok_or(Broken::Short)?;
    *data = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtmp_rs::protocol::message::{Command, RtmpMessage};

    #[test]
    fn what_the_crate_writes_is_read() {
        let fields = HashMap::from([
            ("app".to_string(), AmfValue::String("live".into())),
            ("width".to_string(), AmfValue::Number(320.0)),
            ("deep".to_string(), AmfValue::Array(vec![AmfValue::Boolean(true), AmfValue::Null])),
        ]);
        let mut command =
            Command::result(7.0, AmfValue::Object(fields.clone()), AmfValue::EcmaArray(fields.clone()));
        command.name = "connect".into();
        let (_, bytes) = RtmpMessage::Command(command).encode();
        let read = values(&bytes).unwrap();
        assert_eq!(read[..2], [AmfValue::String("connect".into()), AmfValue::Number(7.0)]);
        assert_eq!(read[2..], [AmfValue::Object(fields.clone()), AmfValue::EcmaArray(fields)]);
        // Cut off within the last value.
        assert_eq!(values(&bytes[..bytes.len() - 4]).unwrap().len(), 3);
        // An object without the mark of its end.
        assert_eq!(values(&[3, 0, 1, b'a', 5, 0, 0]).unwrap().len(), 1);
    }

    #[test]
    fn what_would_grow_is_refused() {
        let array = |count: u32| [&[10][..], &count.to_be_bytes()].concat();
        let bomb = [array(1), vec![5], array(1000), [7, 0, 0].repeat(1000)].concat();
        assert_eq!(values(&bomb), Err(Broken::Reference));
        assert_eq!(values(&array(u32::MAX)), Err(Broken::Short));
        assert_eq!(values(&array(1).repeat(10_000)), Err(Broken::Deep));
        assert_eq!(values(&b"\x03\0\x01a".repeat(10_000)), Err(Broken::Deep));
        assert_eq!(values(&vec![5; LONGEST + 1]), Err(Broken::Long));
        assert_eq!(values(&[99]), Err(Broken::Marker(99)));
    }
}
