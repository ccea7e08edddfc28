//! AMF's values, as the protocol crate has them.

use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq)]
pub enum AmfValue {
    Null,
    Undefined,
    Boolean(bool),
    Number(f64),
    String(String),
    Array(Vec<AmfValue>),
    Object(HashMap<String, AmfValue>),
    TypedObject { class_name: String, properties: HashMap<String, AmfValue> },
    Date(f64),
    Xml(String),
    EcmaArray(HashMap<String, AmfValue>),
}

impl AmfValue {
    /// How many values there are in it.
    pub fn size(&self) -> usize {
        match self {
            AmfValue::Array(all) => 1 + all.iter().map(AmfValue::size).sum::<usize>(),
            AmfValue::Object(all)
            | AmfValue::EcmaArray(all)
            | AmfValue::TypedObject { properties: all, .. } => {
                1 + all.values().map(AmfValue::size).sum::<usize>()
            }
            _ => 1,
        }
    }
}
