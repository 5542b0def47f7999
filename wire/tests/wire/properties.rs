//! Laws: a request survives its forms, a decoder survives any bytes, a row survives every encoder.

use larder_wire::encode::{
    Csv, Encoder, Json, Msgpack, MsgpackStream, Ndjson, Rqlite, RqliteOptions, Style, Trailer,
};
use larder_wire::{Args, Bindings, Column, Ints, Request, Response, RowShape, Statement, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![".{0,12}", any::<String>(), Just("x'00'".to_owned()), Just("$blob".to_owned())];
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>().prop_filter("NaN is refused", |it| !it.is_nan()).prop_map(Value::Real),
        (-1e6..1e6).prop_map(Value::Real),
        text.prop_map(Value::Text),
        vec(any::<u8>(), 0..40).prop_map(Value::Blob),
    ]
}

fn bindings() -> impl Strategy<Value = Bindings> {
    let name = prop_oneof!["[:@$]?[a-z]{1,3}", Just("$blob".to_owned()), any::<String>()];
    prop_oneof![
        vec(value(), 0..5).prop_map(Bindings::Positional),
        btree_map(name, value(), 0..4).prop_map(|pairs| Bindings::Named(pairs.into_iter().collect())),
    ]
}

fn statement() -> impl Strategy<Value = Statement> {
    let args = prop_oneof![bindings().prop_map(Args::One), vec(bindings(), 0..4).prop_map(Args::Many)];
    let expect_rows = proptest::option::of(any::<u64>());
    (any::<String>(), args, expect_rows).prop_map(|(sql, args, expect_rows)| Statement {
        sql,
        args,
        expect_rows,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let rows = proptest::option::of(prop_oneof![Just(RowShape::Array), Just(RowShape::Object)]);
    let ints = proptest::option::of(prop_oneof![Just(Ints::Number), Just(Ints::Auto), Just(Ints::String)]);
    let (atomic, timeout_ms) = (any::<Option<bool>>(), any::<Option<u64>>());
    (vec(statement(), 0..4), atomic, timeout_ms, rows, ints).prop_map(
        |(statements, atomic, timeout_ms, rows, ints)| Request { statements, atomic, timeout_ms, rows, ints },
    )
}

fn decode_all(body: &[u8]) {
    for decode in [Request::from_json, Request::from_msgpack, Request::from_rqlite_json, Request::from_text] {
        if let Err(error) = decode(body) {
            assert!(error.offset.is_none_or(|offset| offset <= body.len()), "{error:?}");
        }
    }
}

proptest! {
    #[test]
    fn requests_survive_json(request in request()) {
        let body = serde_json::to_vec(&request).unwrap();
        prop_assert_eq!(Request::from_json(&body).unwrap(), request);
    }

    #[test]
    fn requests_survive_msgpack(request in request()) {
        let body = rmp_serde::to_vec(&request).unwrap();
        prop_assert_eq!(Request::from_msgpack(&body).unwrap(), request);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(body in vec(any::<u8>(), 0..200)) {
        decode_all(&body);
    }

    /// Bytes that are almost a request go deeper than random ones.
    #[test]
    fn damaged_requests_are_decoded_or_refused(
        request in request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        for mut body in [serde_json::to_vec(&request).unwrap(), rmp_serde::to_vec(&request).unwrap()] {
            decode_all(&body[..cut.index(body.len())]);
            let at = at.index(body.len());
            body[at] = byte;
            decode_all(&body);
        }
    }

    #[test]
    fn a_request_that_is_cut_is_refused(request in request(), cut in any::<prop::sample::Index>()) {
        let json = serde_json::to_vec(&request).unwrap();
        prop_assert!(Request::from_json(&json[..cut.index(json.len())]).is_err());
        let msgpack = rmp_serde::to_vec(&request).unwrap();
        let error = Request::from_msgpack(&msgpack[..cut.index(msgpack.len())]).unwrap_err();
        prop_assert_eq!(error.offset, Some(cut.index(msgpack.len())));
    }
}

/// A result with as many values in each row as there are columns.
fn table() -> impl Strategy<Value = (Vec<Column>, Vec<Vec<Value>>)> {
    (1..5_usize).prop_flat_map(|width| {
        let column = (any::<String>(), "[a-z]{0,4}").prop_map(|(name, type_name)| Column { name, type_name });
        (vec(column, width), vec(vec(value(), width), 0..6))
    })
}

fn written(encoder: &mut dyn Encoder, columns: &[Column], rows: &[Vec<Value>]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.start(&mut out);
    for statement in 0..2 {
        encoder.columns(&mut out, statement, columns);
        for row in rows {
            encoder.row(&mut out, row);
        }
        encoder.end(&mut out, rows.len() as u64, 0.5);
    }
    encoder.finish(&mut out, &Trailer { seq: 7, ..Trailer::default() });
    out
}

fn assert_response(response: &Response, columns: &[Column], rows: &[Vec<Value>]) {
    assert_eq!((response.results.len(), response.seq), (2, 7));
    for result in &response.results {
        assert!(result.columns.iter().eq(columns.iter().map(|it| &it.name)));
        assert!(result.types.iter().eq(columns.iter().map(|it| &it.type_name)));
        assert_eq!(result.rows, rows);
    }
}

/// The rows in a stream of objects: what is an array is a row.
fn rows_of_lines(text: &[u8]) -> Vec<Vec<Value>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"["));
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

fn rows_of_stream(mut bytes: &[u8]) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let is_row = matches!(bytes[0], 0x90..=0x9f | 0xdc | 0xdd);
        let mut deserializer = rmp_serde::Deserializer::new(&mut bytes);
        if is_row {
            rows.push(serde::Deserialize::deserialize(&mut deserializer).unwrap());
        } else {
            <serde::de::IgnoredAny as serde::Deserialize>::deserialize(&mut deserializer).unwrap();
        }
    }
    rows
}

/// A reader of RFC 4180: lines of fields, `None` where a field is empty and not quoted.
fn csv_lines(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut lines, mut line, mut rest) = (Vec::new(), Vec::new(), text);
    while !rest.is_empty() {
        let field = if let Some(quoted) = rest.strip_prefix('"') {
            let mut end = 0;
            while quoted[end..].starts_with("\"\"") || !quoted[end..].starts_with('"') {
                end += if quoted[end..].starts_with("\"\"") {
                    2
                } else {
                    quoted[end..].chars().next().unwrap().len_utf8()
                };
            }
            rest = &quoted[end + 1..];
            Some(quoted[..end].replace("\"\"", "\""))
        } else {
            let end = rest.find([',', '\r']).unwrap();
            let bare = &rest[..end];
            rest = &rest[end..];
            (!bare.is_empty()).then(|| bare.to_owned())
        };
        line.push(field);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                rest = rest.strip_prefix("\r\n").unwrap();
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines
}

fn as_csv(value: &Value) -> Option<String> {
    use base64::Engine as _;
    match value {
        Value::Null => None,
        Value::Integer(value) => Some(value.to_string()),
        Value::Real(value) if *value == f64::INFINITY => Some("Infinity".to_owned()),
        Value::Real(value) if *value == f64::NEG_INFINITY => Some("-Infinity".to_owned()),
        Value::Real(value) => Some(ryu::Buffer::new().format_finite(*value).to_owned()),
        Value::Text(text) => Some(text.clone()),
        Value::Blob(bytes) => Some(base64::engine::general_purpose::STANDARD.encode(bytes)),
    }
}

fn as_rqlite(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(value) => (*value).into(),
        // Infinities have no number in JSON: `null`.
        Value::Real(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => bytes.as_slice().into(),
    }
}

proptest! {
    #[test]
    fn rows_survive_json((columns, rows) in table(), pretty in any::<bool>()) {
        let out = written(&mut Json::new(Style { pretty, ..Style::default() }), &columns, &rows);
        assert_response(&serde_json::from_slice(&out).unwrap(), &columns, &rows);
    }

    #[test]
    fn rows_survive_msgpack((columns, rows) in table()) {
        let out = written(&mut Msgpack::default(), &columns, &rows);
        assert_response(&rmp_serde::from_slice(&out).unwrap(), &columns, &rows);
    }

    #[test]
    fn rows_survive_streams((columns, rows) in table()) {
        let twice = [rows.clone(), rows.clone()].concat();
        let out = written(&mut Ndjson::new(Style::default()), &columns, &rows);
        prop_assert_eq!(rows_of_lines(&out), &twice[..]);
        let out = written(&mut MsgpackStream::default(), &columns, &rows);
        prop_assert_eq!(rows_of_stream(&out), twice);
    }

    #[test]
    fn rows_survive_csv((columns, rows) in table()) {
        let mut out = Vec::new();
        Csv.columns(&mut out, 0, &columns);
        rows.iter().for_each(|row| Csv.row(&mut out, row));
        let lines = csv_lines(std::str::from_utf8(&out).unwrap());
        let header: Vec<_> = columns.iter().map(|it| Some(it.name.clone())).collect();
        prop_assert_eq!(&lines[0], &header);
        let expected: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(as_csv).collect()).collect();
        prop_assert_eq!(&lines[1..], expected);
    }

    #[test]
    fn rows_survive_rqlite((columns, rows) in table()) {
        let options = RqliteOptions { blob_array: true, ..RqliteOptions::default() };
        let out = written(&mut Rqlite::new(options), &columns, &rows);
        let answer: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected: Vec<serde_json::Value> = rows.iter().map(|row| row.iter().map(as_rqlite).collect()).collect();
        let values = answer["results"][1]["values"].as_array().cloned().unwrap_or_default();
        prop_assert_eq!(values, expected);
    }
}
