//! Objects as they are stored: their JSON without its head, compressed.
//!
//! The head (apiVersion, kind, resourceVersion) is put before it when it is read, so an answer is spliced together and never parsed. There is no
//! dictionary: at some kilobytes an object it would save a fifth of the space, and be one more thing that must not get lost.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::get_frame_content_size;

use super::error::damaged;
use super::{Key, Revision, StoreError};
use crate::json::write;
use crate::object::Object;

/// An object as it is stored. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where.
    pub key: Key,
    /// When it was last written.
    pub revision: Revision,
    /// The version that it was written under.
    pub version: Arc<str>,
    /// The JSON behind `{"apiVersion":"…","kind":"…","metadata":{"resourceVersion":"…",`, to the end.
    pub rest: Bytes,
}

/// What JSON of an object is made from.
pub trait Json {
    /// The version that it was written under.
    fn version(&self) -> &str;

    /// How long the JSON is behind its head.
    ///
    /// # Errors
    /// What is stored is not what was compressed: the database is damaged.
    fn length(&self) -> Result<usize, StoreError>;

    /// Appends the object as JSON of an API version (`GROUP/VERSION`) and a kind, without parsing it.
    ///
    /// # Errors
    /// As for [`Json::length`].
    fn write_json(&self, api_version: &str, kind: &str, out: &mut Vec<u8>) -> Result<(), StoreError>;
}

impl Json for Stored {
    fn version(&self) -> &str {
        &self.version
    }

    fn length(&self) -> Result<usize, StoreError> {
        Ok(self.rest.len())
    }

    fn write_json(&self, api_version: &str, kind: &str, out: &mut Vec<u8>) -> Result<(), StoreError> {
        self.write_json(api_version, kind, out);
        Ok(())
    }
}

impl Stored {
    /// As if `object` stood in its place.
    pub(crate) fn with(self, object: &Object) -> Self {
        Self { rest: rest(object).into(), ..self }
    }

    /// Appends the object as JSON of an API version (`GROUP/VERSION`) and a kind, without parsing it.
    pub fn write_json(&self, api_version: &str, kind: &str, out: &mut Vec<u8>) {
        out.reserve(self.rest.len() + api_version.len() + kind.len() + 96);
        head(out, api_version, kind, self.revision);
        if self.rest.first() == Some(&b'}') {
            out.pop();
        }
        out.extend_from_slice(&self.rest);
    }

    /// The object, parsed, with `apiVersion`, `kind` and `metadata.resourceVersion`.
    ///
    /// # Errors
    /// What is stored is no JSON: the database is damaged.
    pub fn object(&self, api_version: &str, kind: &str) -> Result<Object, StoreError> {
        let mut json = Vec::new();
        self.write_json(api_version, kind, &mut json);
        Ok(Object(serde_json::from_slice(&json).map_err(damaged)?))
    }
}

/// What stands before the rest of an object, with a comma, which goes if the rest has no metadata.
fn head(out: &mut Vec<u8>, api_version: &str, kind: &str, revision: Revision) {
    out.extend_from_slice(br#"{"apiVersion":"#);
    write(out, &api_version);
    out.extend_from_slice(br#","kind":"#);
    write(out, &kind);
    out.extend_from_slice(br#","metadata":{"resourceVersion":""#);
    write(out, &revision);
    out.extend_from_slice(br#"","#);
}

/// As [`Json::write_json`], from what was stored, which is unpacked where it is to be sent from.
pub(super) fn write_packed(
    packed: &[u8],
    api_version: &str,
    kind: &str,
    revision: Revision,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let length = length(packed)?;
    out.reserve(length + api_version.len() + kind.len() + 96);
    head(out, api_version, kind, revision);
    let start = out.len();
    out.resize(start + length, 0);
    let written = with_decompressor(|it| it.decompress_to_buffer(packed, &mut out[start..]))?;
    out.truncate(start + written);
    if out.get(start) == Some(&b'}') {
        out.remove(start - 1);
    }
    Ok(())
}

/// The JSON of an object behind its head. `metadata` comes first, whatever is in it, and lists come last: they are most of a report, and whoever looks for
/// the few values that a table shows has found them before.
pub(super) fn rest(object: &Object) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 << 10);
    let metadata = object.metadata().into_iter().flatten();
    let mut separator: &[u8] = b"";
    for (field, value) in metadata.filter(|(field, _)| *field != "resourceVersion") {
        out.extend_from_slice(separator);
        member(&mut out, field, value);
        separator = b",";
    }
    out.push(b'}');
    let others =
        object.0.iter().filter(|(field, _)| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
    let (lists, others): (Vec<_>, Vec<_>) = others.partition(|(_, value)| value.is_array());
    for (field, value) in others.into_iter().chain(lists) {
        out.push(b',');
        member(&mut out, field, value);
    }
    out.push(b'}');
    out
}

fn member(out: &mut Vec<u8>, field: &str, value: &Value) {
    write(out, &field);
    out.push(b':');
    write(out, value);
}

/// From this length on compression takes milliseconds, which no thread of the runtime should spend.
const LARGE: usize = 256 << 10;

/// What a longer object would be is not a stored object.
const LONGEST: u64 = 256 << 20;

thread_local! {
    // Making a context takes longer than compressing an object with it.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses the rest of an object.
pub(super) async fn pack(rest: Bytes) -> Result<Vec<u8>, StoreError> {
    if rest.len() < LARGE {
        return compress(&rest);
    }
    let packed = tokio::task::spawn_blocking(move || compress(&rest)).await;
    packed.unwrap_or_else(|error| Err(StoreError::TooLarge(error.to_string())))
}

fn compress(rest: &[u8]) -> Result<Vec<u8>, StoreError> {
    let too_large = |error: std::io::Error| StoreError::TooLarge(format!("cannot be compressed: {error}"));
    COMPRESSOR.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) => context,
            None => slot.insert(Compressor::new(LEVEL).map_err(too_large)?),
        };
        context.compress(rest).map_err(too_large)
    })
}

/// A third of the size of JSON for a third of the time that the next levels take.
const LEVEL: i32 = 1;

/// The rest of an object, from what was stored of it.
pub(super) fn unpack(packed: &[u8]) -> Result<Bytes, StoreError> {
    let length = length(packed)?;
    Ok(with_decompressor(|it| it.decompress(packed, length))?.into())
}

/// How long it is unpacked.
pub(super) fn length(packed: &[u8]) -> Result<usize, StoreError> {
    match get_frame_content_size(packed) {
        Ok(Some(length)) if length <= LONGEST => usize::try_from(length).map_err(damaged),
        _ => Err(damaged("it is not what was compressed")),
    }
}

fn with_decompressor<T>(
    decompress: impl FnOnce(&mut Decompressor<'static>) -> std::io::Result<T>,
) -> Result<T, StoreError> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) => context,
            None => slot.insert(Decompressor::new().map_err(damaged)?),
        };
        decompress(context).map_err(damaged)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stored(object: Value) -> Stored {
        let Value::Object(map) = object else { panic!("no object") };
        let rest = rest(&Object(map));
        let packed = compress(&rest).expect("compresses");
        let rest = unpack(&packed).expect("is what was compressed");
        let mut straight = b"before".to_vec();
        write_packed(&packed, "g/v1", "K", 7, &mut straight).expect("is what was compressed");
        let mut spliced = b"before".to_vec();
        let stored = Stored { key: Key::from("a/b"), revision: 7, version: "v1".into(), rest };
        stored.write_json("g/v1", "K", &mut spliced);
        assert_eq!(String::from_utf8(straight), String::from_utf8(spliced));
        stored
    }

    #[test]
    fn the_head_is_replaced_and_the_rest_stays() {
        let object = json!({
            "apiVersion": "old/v0", "kind": "Old", "results": [{"a": 1.5}, {}], "z": null,
            "metadata": {"name": "b", "namespace": "a", "resourceVersion": "3", "labels": {"ä\"": "\u{1}"}},
        });
        let mut out = b"x".to_vec();
        stored(object).write_json("g/v1", "Kind", &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        let head = r#"x{"apiVersion":"g/v1","kind":"Kind","metadata":{"resourceVersion":"7","labels":"#;
        assert!(text.starts_with(head), "{text}");
        assert!(text.ends_with(r#","z":null,"results":[{"a":1.5},{}]}"#), "{text}");
        let read: Value = serde_json::from_str(&text[1..]).expect("JSON");
        assert_eq!(
            read,
            json!({
                "apiVersion": "g/v1", "kind": "Kind", "results": [{"a": 1.5}, {}], "z": null,
                "metadata": {"name": "b", "namespace": "a", "resourceVersion": "7", "labels": {"ä\"": "\u{1}"}},
            })
        );
    }

    #[test]
    fn metadata_may_be_empty_missing_or_nothing_at_all() {
        for object in
            [json!({"spec": {}}), json!({"metadata": {}, "spec": {}}), json!({"metadata": 3, "spec": {}})]
        {
            let read = stored(object).object("g/v1", "K").expect("JSON");
            let whole =
                json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"resourceVersion": "7"}, "spec": {}});
            assert_eq!(Value::Object(read.0), whole);
        }
    }

    #[test]
    fn what_was_not_packed_is_not_unpacked() {
        for packed in
            [&b""[..], b"{}", &[0x28, 0xb5, 0x2f, 0xfd], &compress(b"abc").expect("compresses")[..5]]
        {
            assert!(matches!(unpack(packed), Err(StoreError::Damaged(_))), "{packed:?}");
        }
    }
}
