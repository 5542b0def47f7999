//! What a payload is, by its first bytes, for those who do not say.

use std::io::Read;

use clap::ValueEnum;
use larder_client::reports::Encoding;
use serde::de::IgnoredAny;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// What follows on the length in a gob that begins, as every struct does, with the definition of its type.
const GOB: &[u8] = &[0xff, 0x81, 0x03, 0x01];
/// Bytes that are unpacked to see what is inside.
const HEAD: u64 = 4096;

/// The names of encodings, as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum EncodingName {
    /// Nothing is known of it.
    Opaque,
    /// Plain JSON.
    Json,
    /// JSON in gzip.
    GzipJson,
    /// JSON in zstd.
    ZstdJson,
    /// Go's gob in gzip.
    GzipGob,
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::Opaque => Self::Opaque,
            EncodingName::Json => Self::Json,
            EncodingName::GzipJson => Self::GzipJson,
            EncodingName::ZstdJson => Self::ZstdJson,
            EncodingName::GzipGob => Self::GzipGob,
        }
    }
}

/// The name of an encoding, as it is typed and printed.
pub(super) fn name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Opaque => "opaque",
        Encoding::Json => "json",
        Encoding::GzipJson => "gzip-json",
        Encoding::ZstdJson => "zstd-json",
        Encoding::GzipGob => "gzip-gob",
    }
}

/// What a payload is, as far as it shows.
pub(super) fn encoding(payload: &[u8]) -> Encoding {
    if payload.starts_with(GZIP) {
        let head = head(flate2::read::MultiGzDecoder::new(payload));
        return if begins_json(&head) {
            Encoding::GzipJson
        } else if head.iter().take(8).collect::<Vec<_>>().windows(4).any(|it| it.iter().copied().eq(GOB)) {
            Encoding::GzipGob
        } else {
            Encoding::Opaque
        };
    }
    if payload.starts_with(ZSTD) {
        let head = zstd::stream::read::Decoder::new(payload).map(head).unwrap_or_default();
        return if begins_json(&head) { Encoding::ZstdJson } else { Encoding::Opaque };
    }
    let is_json = begins_json(payload) && serde_json::from_slice::<IgnoredAny>(payload).is_ok();
    if is_json { Encoding::Json } else { Encoding::Opaque }
}

/// As much of the beginning as can be unpacked.
fn head(reader: impl Read) -> Vec<u8> {
    let mut head = Vec::new();
    // What a damaged stream gave before it broke is as good as the rest for this purpose.
    drop(reader.take(HEAD).read_to_end(&mut head));
    head
}

fn begins_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("written");
        encoder.finish().expect("finished")
    }

    #[test]
    fn payloads_are_what_they_look_like() {
        // The first bytes of what Go's encoding/gob makes of a struct, with a short and with a long definition.
        let short = b"\x3d\xff\x81\x03\x01\x01\x0eCLUSScanReport";
        let long = b"\xff\x9a\xff\x81\x03\x01\x01\x0eCLUSScanReport";
        let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 1).expect("packed");
        for (payload, expected) in [
            (b" {\"Vuls\":[]}".to_vec(), Encoding::Json),
            (b"{ no JSON".to_vec(), Encoding::Opaque),
            (b"".to_vec(), Encoding::Opaque),
            (b"\x1f\x8b".to_vec(), Encoding::Opaque),
            (gzip(b"\n[1]"), Encoding::GzipJson),
            (gzip(short), Encoding::GzipGob),
            (gzip(long), Encoding::GzipGob),
            (gzip(b"text"), Encoding::Opaque),
            (zstd(b"{}"), Encoding::ZstdJson),
            (zstd(b"text"), Encoding::Opaque),
            (ZSTD.to_vec(), Encoding::Opaque),
        ] {
            assert_eq!(encoding(&payload), expected, "{payload:?}");
        }
    }
}
