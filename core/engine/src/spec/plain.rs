//! Documents are read as their schema says: an object is an object. Serde's derived code is laxer than that, since it also
//! serves formats without names: it takes a struct's fields from a list, and a word as the key of an object.

use serde::Deserialize;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use std::collections::HashSet;
use std::fmt;

/// A `T` that is read from a self-describing document (JSON, YAML) without a second spelling for anything: no list in
/// the place of an object, no object in the place of a word, no key twice, no number that is none (YAML's `.nan`).
///
/// Internally tagged and untagged enums keep what they read in a buffer of serde's, which this cannot see into: read
/// those from an object that was read plainly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Plain<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        T::deserialize(Reader(d)).map(Plain)
    }
}

/// Wraps a deserializer, and all that it hands out.
struct Reader<T>(T);

macro_rules! forward {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($arg,)* Reader(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Reader<D> {
    type Error = D::Error;

    forward! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_identifier();
        deserialize_ignored_any();
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Reader(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(Choice(visitor))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Reader<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Reader(d))
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {
        $(fn $method<E: de::Error>(self, v: $type) -> Result<V::Value, E> {
            self.0.$method(v)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Reader<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i64(i64);
        visit_i128(i128);
        visit_u64(u64);
        visit_u128(u128);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<V::Value, E> {
        match v.is_finite() {
            true => self.0.visit_f64(v),
            false => Err(E::invalid_value(Unexpected::Float(v), &"a finite number")),
        }
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<V::Value, D::Error> {
        self.0.visit_some(Reader(d))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<V::Value, D::Error> {
        self.0.visit_newtype_struct(Reader(d))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(Reader(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Members { map, seen: HashSet::new() })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Reader<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Reader(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

/// The members of an object.
struct Members<A> {
    map: A,
    seen: HashSet<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.map.next_key_seed(Key { seed, seen: &mut self.seen })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(Reader(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

/// A key, which must be a new one.
struct Key<'a, S> {
    seed: S,
    seen: &'a mut HashSet<String>,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<S::Value, D::Error> {
        let key = String::deserialize(d)?;
        if !self.seen.insert(key.clone()) {
            return Err(de::Error::custom(format_args!("duplicate field `{key}`")));
        }
        self.seed.deserialize(key.into_deserializer())
    }
}

/// One of several: a word, or an object with one key.
struct Choice<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Choice<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<V::Value, E> {
        self.0.visit_enum(word.into_deserializer())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_enum(Keyed(Members { map, seen: HashSet::new() }))
    }
}

/// An object whose one key says which of several it is.
struct Keyed<A>(Members<A>);

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Keyed<A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<(S::Value, Self), A::Error> {
        match self.0.next_key_seed(seed)? {
            Some(variant) => Ok((variant, self)),
            None => Err(de::Error::invalid_length(0, &"an object with one key")),
        }
    }
}

impl<'de, A: MapAccess<'de>> Keyed<A> {
    fn only<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<S::Value, A::Error> {
        let value = self.0.next_value_seed(seed)?;
        match self.0.map.next_key::<String>()? {
            None => Ok(value),
            Some(key) => {
                Err(de::Error::custom(format_args!("`{key}` is one key too many: only one is taken")))
            }
        }
    }
}

/// A seed that hands a visitor what `deserialize_tuple` or `deserialize_map` finds.
struct Inside<V> {
    visitor: V,
    /// The number of items of a list; `None`: an object.
    items: Option<usize>,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Inside<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<V::Value, D::Error> {
        match self.items {
            Some(items) => d.deserialize_tuple(items, self.visitor),
            None => d.deserialize_map(self.visitor),
        }
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Keyed<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(de::Error::invalid_type(Unexpected::Map, &"the word alone"))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.only(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.only(Inside { visitor, items: Some(len) })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.only(Inside { visitor, items: None })
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{PipelineSpec, parse_json, schema};
    use serde_json::{Map, Value, json};
    use std::collections::HashSet;

    /// What the parser says of `text`.
    fn refused(text: &str) -> String {
        match parse_json::<PipelineSpec>(text) {
            Ok(_) => panic!("taken: {text}"),
            Err(e) => e.message().to_string(),
        }
    }

    #[test]
    fn a_place_in_the_text_is_told_where_it_means_something() {
        let one = r#"{"source": {"url": "a", "timeout": "x"}, "outputs": []}"#;
        assert!(
            refused(one).starts_with("source.timeout: ") && !refused(one).contains("column"),
            "{}",
            refused(one)
        );
        let lines = one.replace("{\"url", "{\n\"url");
        assert!(refused(&lines).ends_with(" at line 2 column 26"), "{}", refused(&lines));
        // What is not JSON has no field to name.
        assert!(refused(r#"{"source": }"#).ends_with(" at line 1 column 12"));
    }

    /// A step from a place of the document to one inside it.
    #[derive(Clone)]
    enum Step {
        Key(String),
        Item,
    }

    fn document(path: &[Step], leaf: Value) -> String {
        let whole = path.iter().rev().fold(leaf, |inner, step| match step {
            Step::Key(key) => Value::Object(Map::from_iter([(key.clone(), inner)])),
            Step::Item => json!([inner]),
        });
        whole.to_string()
    }

    fn spelled(path: &[Step]) -> String {
        let mut text = String::new();
        for step in path {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.extend([".", key]),
                Step::Item => text.push_str("[0]"),
            }
        }
        text
    }

    /// Calls `found` for every place of the schema that is reached without going through one definition twice.
    fn walk(
        root: &Value,
        at: &Value,
        path: &mut Vec<Step>,
        inside: &mut HashSet<String>,
        found: &mut impl FnMut(&Value, &[Step]),
    ) {
        if let Some(name) = at["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            if inside.insert(name.to_string()) {
                walk(root, &root["$defs"][name], path, inside, found);
                inside.remove(name);
            }
            return;
        }
        found(at, path);
        for (key, inner) in at["properties"].as_object().into_iter().flatten() {
            path.push(Step::Key(key.clone()));
            walk(root, inner, path, inside, found);
            path.pop();
        }
        if at["items"].is_object() {
            path.push(Step::Item);
            walk(root, &at["items"], path, inside, found);
            path.pop();
        }
        for other in ["anyOf", "oneOf", "allOf"].iter().filter_map(|k| at[k].as_array()).flatten() {
            walk(root, other, path, inside, found);
        }
    }

    /// Whether the schema allows a list at `at`, at any level of its alternatives.
    fn allows_list(root: &Value, at: &Value) -> bool {
        if let Some(name) = at["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            return allows_list(root, &root["$defs"][name]);
        }
        let is = |t: &Value| t == "array";
        is(&at["type"])
            || at["type"].as_array().is_some_and(|t| t.iter().any(is))
            || ["anyOf", "oneOf", "allOf"]
                .iter()
                .filter_map(|k| at[k].as_array())
                .flatten()
                .any(|other| allows_list(root, other))
    }

    #[test]
    fn no_object_of_the_document_can_be_a_list_and_no_word_an_object() {
        let root: Value = serde_json::from_str(&schema()).unwrap();
        let mut lists: Vec<Vec<Step>> = Vec::new();
        let mut objects = Vec::new();
        let mut words = Vec::new();
        walk(&root, &root, &mut Vec::new(), &mut HashSet::new(), &mut |at, path| {
            if allows_list(&root, at) {
                lists.push(path.to_vec());
            }
            if at["properties"].is_object() {
                objects.push(path.to_vec());
            }
            let one = at["enum"].as_array().and_then(|e| e.first()).or(at.get("const"));
            if let Some(word) = one.and_then(Value::as_str) {
                words.push((path.to_vec(), word.to_string()));
            }
        });
        let lists: HashSet<String> = lists.iter().map(|path| spelled(path)).collect();
        objects.retain(|path| !lists.contains(&spelled(path)));
        assert!(objects.len() > 40 && words.len() > 40, "{} {}", objects.len(), words.len());
        for path in &objects {
            for list in [json!([]), json!(["a.mkv"]), json!([{}])] {
                let said = refused(&document(path, list));
                let place = spelled(path);
                assert!(
                    said.starts_with(&place) && said.contains("invalid type: sequence"),
                    "{place}: {said}"
                );
            }
        }
        for (path, word) in &words {
            let object = Value::Object(Map::from_iter([(word.clone(), Value::Null)]));
            let said = refused(&document(path, object));
            assert!(said.starts_with(&spelled(path)), "{}: {said}", spelled(path));
            assert!(said.contains("invalid type: map"), "{}: {said}", spelled(path));
        }
    }

    #[test]
    fn a_source_is_no_list() {
        let said = refused(r#"{"source": ["a.mkv"], "outputs": [{"path": "b.mp4"}]}"#);
        assert!(said.starts_with("source: invalid type: sequence"), "{said}");
        let said = refused(r#"[{"url": "a.mkv"}, [{"path": "b.mp4"}]]"#);
        assert!(said.starts_with("invalid type: sequence"), "{said}");
    }

    #[test]
    fn no_key_is_there_twice_and_numbers_are_numbers() {
        for (text, said) in [
            (r#"{"source": {"url": "a", "url": "b"}}"#, "source.url: duplicate field `url`"),
            (
                r#"{"source": {"url": "a", "options": {"x": "1", "x": "2"}}}"#,
                "source.options.x: duplicate field `x`",
            ),
            (r#"{"source": {"url": "a"}, "outputs": [{"video": {"crf": "23"}}]}"#, "outputs[0].video.crf: "),
            (r#"{"source": {"url": "a"}, "outputs": [{"video": {"crf": NaN}}]}"#, "outputs[0].video.crf: "),
            (r#"{"source": {"url": "a"}, "outputs": [{"video": {"crf": 1e999}}]}"#, "outputs[0].video.crf: "),
            (
                r#"{"source": {"url": "a"}, "outputs": [{"video": {"width": 1.5}}]}"#,
                "outputs[0].video.width: ",
            ),
            (
                r#"{"source": {"url": "a"}, "outputs": [{"video": {"width": -2}}]}"#,
                "outputs[0].video.width: ",
            ),
            (r#"{"source": {"url": "a"}, "outputs": [{"faststart": 1}]}"#, "outputs[0].faststart: "),
            (r#"{"source": {"url": 1}}"#, "source.url: "),
            (r#"{"source": {"url": null, "seekable": "yes"}}"#, "source."),
        ] {
            let message = refused(text);
            assert!(message.starts_with(said), "{message}");
        }
        let deep = format!(r#"{{"source": {}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        assert!(refused(&deep).starts_with("source"));
        let deep = format!(r#"{{"source": {}1{}}}"#, r#"{"pattern":"#.repeat(50_000), "}".repeat(50_000));
        assert!(refused(&deep).starts_with("source"));
    }

    #[test]
    fn one_of_several_has_one_key() {
        let of = |filter: &str| {
            format!(
                r#"{{"source": {{"url": "a"}}, "outputs": [{{"path": "b.mp4", "video": {{"filters": [{filter}]}}}}]}}"#
            )
        };
        for filter in [r#"{"rotate": 90, "sharpen": {}}"#, "{}", r#"["rotate", 90]"#, r#""rotate""#] {
            let said = refused(&of(filter));
            assert!(said.starts_with("outputs[0].video.filters[0]"), "{said}");
        }
        parse_json::<PipelineSpec>(&of(r#"{"rotate": 90}"#)).unwrap();
    }

    #[test]
    fn any_document_is_read_plainly() {
        let read = |text: &str| {
            let mut json = serde_json::Deserializer::from_str(text);
            serde_path_to_error::deserialize::<_, super::Plain<Value>>(&mut json).map(|v| v.0)
        };
        assert_eq!(
            read(r#"{"a": [1, "b", null, {"c": true}]}"#).unwrap(),
            json!({"a": [1, "b", null, {"c": true}]})
        );
        assert_eq!(read(r#"{"a": [{"c": true, "c": 1}]}"#).unwrap_err().path().to_string(), "a[0].c");
    }
}
