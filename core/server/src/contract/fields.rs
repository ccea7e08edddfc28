//! Reading a JSON request the way the original's clients know it: every mistake is found, not only the first, and each is
//! a pydantic error with the path of its field. Conversions are pydantic's lax ones (`"5"` is a number, `"yes"` a bool).

use super::values::Word;
use serde_json::{Map, Value, json};

/// One mistake in a request.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// pydantic's name for the mistake (`missing`, `enum`, `float_parsing` …).
    pub kind: &'static str,
    /// Where: keys and indexes, beginning with `body`, `query` or `path`.
    pub loc: Vec<Value>,
    /// What a person reads.
    pub msg: String,
    /// What stood there.
    pub input: Value,
    /// Details for machines.
    pub ctx: Option<Value>,
}

impl FieldError {
    /// As the wire has it.
    pub fn to_json(&self) -> Value {
        let mut object = json!({ "type": self.kind, "loc": self.loc, "msg": self.msg, "input": self.input });
        if let (Some(ctx), Some(object)) = (&self.ctx, object.as_object_mut()) {
            object.insert("ctx".into(), ctx.clone());
        }
        object
    }

    /// The path without its first part: `output.bitrate`.
    pub fn field(&self) -> String {
        let parts = self.loc.iter().skip(1).map(|p| p.as_str().map_or_else(|| p.to_string(), Into::into));
        parts.collect::<Vec<String>>().join(".")
    }

    /// A value that cannot be right, at the dotted path `field` of the body.
    pub fn value(field: &str, message: &str, input: Value) -> FieldError {
        let mut loc = vec![json!("body")];
        loc.extend(field.split('.').filter(|p| !p.is_empty()).map(|p| match p.parse::<u64>() {
            Ok(index) => json!(index),
            Err(_) => json!(p),
        }));
        FieldError {
            kind: "value_error",
            loc,
            msg: format!("Value error, {message}"),
            input,
            ctx: Some(json!({ "error": message })),
        }
    }
}

/// The mistakes of one request, while it is read.
#[derive(Debug, Default)]
pub struct Errors {
    /// In the order in which they were found.
    pub list: Vec<FieldError>,
    /// Fields that nobody knows, by path.
    pub unknown: Vec<String>,
}

/// An object that is being read.
pub struct Fields<'a> {
    map: &'a Map<String, Value>,
    whole: &'a Value,
    loc: Vec<Value>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Reads `value`, which stands at `loc`; a mistake unless it is an object.
    pub fn of(value: &'a Value, loc: Vec<Value>, errors: &mut Errors) -> Option<Fields<'a>> {
        match value {
            Value::Object(map) => Some(Fields { map, whole: value, loc, known: Vec::new() }),
            _ => {
                errors.list.push(FieldError {
                    kind: "model_attributes_type",
                    loc,
                    msg: "Input should be a valid dictionary or object to extract fields from".into(),
                    input: value.clone(),
                    ctx: None,
                });
                None
            }
        }
    }

    fn at(&self, key: &str) -> Vec<Value> {
        let mut loc = self.loc.clone();
        loc.push(json!(key));
        loc
    }

    fn fail(&self, errors: &mut Errors, kind: &'static str, key: &str, msg: &str, ctx: Option<Value>) {
        let input = self.map.get(key).cloned().unwrap_or_default();
        errors.list.push(FieldError { kind, loc: self.at(key), msg: msg.into(), input, ctx });
    }

    /// A value error at `key`.
    pub fn refuse(&self, errors: &mut Errors, key: &str, message: &str) {
        let ctx = Some(json!({ "error": message }));
        self.fail(errors, "value_error", key, &format!("Value error, {message}"), ctx);
    }

    /// The raw value, noted as known.
    pub fn raw(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.map.get(key)
    }

    /// The raw value unless it is null, noted as known.
    fn some(&mut self, key: &'static str) -> Option<&'a Value> {
        self.raw(key).filter(|v| !v.is_null())
    }

    /// A text that must be there.
    pub fn required_text(&mut self, key: &'static str, errors: &mut Errors) -> Option<String> {
        if self.raw(key).is_none() {
            errors.list.push(FieldError {
                kind: "missing",
                loc: self.at(key),
                msg: "Field required".into(),
                input: self.whole.clone(),
                ctx: None,
            });
            return None;
        }
        self.text(key, errors)
    }

    /// A text; null is a mistake.
    pub fn text(&mut self, key: &'static str, errors: &mut Errors) -> Option<String> {
        match self.raw(key)? {
            Value::String(text) => Some(text.clone()),
            _ => {
                self.fail(errors, "string_type", key, "Input should be a valid string", None);
                None
            }
        }
    }

    /// A text or null.
    pub fn optional_text(&mut self, key: &'static str, errors: &mut Errors) -> Option<String> {
        self.some(key)?;
        self.text(key, errors)
    }

    /// One of a set of words; null is a mistake.
    pub fn word<W: Word>(&mut self, key: &'static str, errors: &mut Errors) -> Option<W> {
        let word = self.raw(key)?.as_str().and_then(W::of);
        if word.is_none() {
            let listed = W::listed();
            let ctx = Some(json!({ "expected": listed }));
            self.fail(errors, "enum", key, &format!("Input should be {listed}"), ctx);
        }
        word
    }

    /// One of a set of words, or null.
    pub fn optional_word<W: Word>(&mut self, key: &'static str, errors: &mut Errors) -> Option<W> {
        self.some(key)?;
        self.word(key, errors)
    }

    /// A number of at least `least`.
    pub fn number(&mut self, key: &'static str, least: f64, errors: &mut Errors) -> Option<f64> {
        let number = match self.raw(key)? {
            Value::Number(n) => n.as_f64(),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::String(s) => match s.trim().parse::<f64>() {
                Ok(n) => Some(n),
                Err(_) => {
                    let msg = "Input should be a valid number, unable to parse string as a number";
                    self.fail(errors, "float_parsing", key, msg, None);
                    return None;
                }
            },
            _ => None,
        };
        match number {
            None => self.fail(errors, "float_type", key, "Input should be a valid number", None),
            Some(n) if !n.is_finite() => {
                self.fail(errors, "finite_number", key, "Input should be a finite number", None);
            }
            Some(n) if n < least => {
                let msg = format!("Input should be greater than or equal to {least}");
                self.fail(errors, "greater_than_equal", key, &msg, Some(json!({ "ge": least })));
            }
            good => return good,
        }
        None
    }

    /// A whole number between `least` and `most`.
    pub fn integer(&mut self, key: &'static str, least: i64, most: i64, errors: &mut Errors) -> Option<i64> {
        let value = self.raw(key)?;
        let text = "Input should be a valid integer, unable to parse string as an integer";
        let fraction = "Input should be a valid integer, got a number with a fractional part";
        let found = match value {
            Value::Number(n) => n.as_i64().or_else(|| whole(n.as_f64()?)).ok_or(("int_from_float", fraction)),
            Value::Bool(b) => Ok(i64::from(*b)),
            Value::String(s) => s.trim().parse().map_err(|_| ("int_parsing", text)),
            _ => Err(("int_type", "Input should be a valid integer")),
        };
        match found {
            Err((kind, msg)) => self.fail(errors, kind, key, msg, None),
            Ok(n) if n < least => {
                let msg = format!("Input should be greater than or equal to {least}");
                self.fail(errors, "greater_than_equal", key, &msg, Some(json!({ "ge": least })));
            }
            Ok(n) if n > most => {
                let msg = format!("Input should be less than or equal to {most}");
                self.fail(errors, "less_than_equal", key, &msg, Some(json!({ "le": most })));
            }
            Ok(n) => return Some(n),
        }
        None
    }

    /// A truth value.
    pub fn boolean(&mut self, key: &'static str, errors: &mut Errors) -> Option<bool> {
        let found = match self.raw(key)? {
            Value::Bool(b) => Ok(*b),
            Value::Number(n) => match n.as_f64() {
                Some(0.0) => Ok(false),
                Some(1.0) => Ok(true),
                _ => Err(("bool_parsing", "Input should be a valid boolean, unable to interpret input")),
            },
            Value::String(s) => match s.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
                "false" | "f" | "no" | "n" | "off" | "0" => Ok(false),
                _ => Err(("bool_parsing", "Input should be a valid boolean, unable to interpret input")),
            },
            _ => Err(("bool_type", "Input should be a valid boolean")),
        };
        match found {
            Ok(b) => Some(b),
            Err((kind, msg)) => {
                self.fail(errors, kind, key, msg, None);
                None
            }
        }
    }

    /// An object inside; null counts as absent when `nullable`.
    pub fn object(&mut self, key: &'static str, nullable: bool, errors: &mut Errors) -> Option<Fields<'a>> {
        let value = if nullable { self.some(key)? } else { self.raw(key)? };
        Fields::of(value, self.at(key), errors)
    }

    /// The objects of a list; null counts as absent.
    pub fn objects(&mut self, key: &'static str, errors: &mut Errors) -> Option<Vec<Fields<'a>>> {
        let Value::Array(items) = self.some(key)? else {
            self.fail(errors, "list_type", key, "Input should be a valid list", None);
            return None;
        };
        let each = items.iter().enumerate().filter_map(|(i, value)| {
            let mut loc = self.at(key);
            loc.push(json!(i));
            Fields::of(value, loc, errors)
        });
        Some(each.collect())
    }

    /// The words of a list; null counts as absent.
    pub fn texts(&mut self, key: &'static str, errors: &mut Errors) -> Option<Vec<String>> {
        let Value::Array(items) = self.some(key)? else {
            self.fail(errors, "list_type", key, "Input should be a valid list", None);
            return None;
        };
        let mut texts = Vec::new();
        for (i, value) in items.iter().enumerate() {
            match value {
                Value::String(text) => texts.push(text.clone()),
                _ => {
                    let mut loc = self.at(key);
                    loc.push(json!(i));
                    errors.list.push(FieldError {
                        kind: "string_type",
                        loc,
                        msg: "Input should be a valid string".into(),
                        input: value.clone(),
                        ctx: None,
                    });
                }
            }
        }
        Some(texts)
    }

    /// Notes the keys that were not asked for; with `refuse` they are mistakes.
    pub fn end(self, refuse: bool, errors: &mut Errors) {
        for key in self.map.keys().filter(|k| !self.known.contains(&k.as_str())) {
            if refuse {
                let msg = "Extra inputs are not permitted";
                self.fail(errors, "extra_forbidden", key, msg, None);
            } else {
                let parts = self.at(key);
                let parts =
                    parts.iter().skip(1).map(|p| p.as_str().map_or_else(|| p.to_string(), Into::into));
                errors.unknown.push(parts.collect::<Vec<String>>().join("."));
            }
        }
    }
}

fn whole(n: f64) -> Option<i64> {
    (n.fract() == 0.0 && n.abs() < 1e15).then_some(n as i64)
}
