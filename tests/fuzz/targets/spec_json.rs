//! The document: any text is a document or an error, and a document that passes says the same after it was written out.
#![no_main]

use ghoststream::{ErrorKind, PipelineSpec};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let spec = match PipelineSpec::from_json(text) {
        Ok(spec) => spec,
        Err(e) => {
            assert_eq!(e.kind(), ErrorKind::Invalid, "{e}");
            assert!(!e.to_string().is_empty());
            return;
        }
    };
    let written = serde_json::to_string(&spec).expect("a document that passed can be written");
    let again = PipelineSpec::from_json(&written).unwrap_or_else(|e| panic!("{e} in {written}"));
    let (first, second) = (serde_json::to_value(&spec), serde_json::to_value(&again));
    let (first, second) = (first.expect("a value"), second.expect("a value"));
    assert!(same(&first, &second), "{first} became {second}");
});

/// Equal, but for the last digits of numbers, which the reader may round.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|other| same(v, other)))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            a == b || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
        }
        _ => a == b,
    }
}
