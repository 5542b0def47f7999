//! Every form of an answer, as a golden file of one and the same story.

use larder_wire::encode::{
    Csv, Encoder, Json, Msgpack, MsgpackStream, Ndjson, Rqlite, RqliteOptions, Style, Trailer,
};
use larder_wire::{Column, Error, Ints, Kind, RowShape, Rows, StatementResult, Value, code};

use crate::golden::{assert_golden, msgpack_as_text};

pub(crate) fn columns(columns: &[(&str, &str)]) -> Vec<Column> {
    columns
        .iter()
        .map(|(name, type_name)| Column { name: (*name).to_owned(), type_name: (*type_name).to_owned() })
        .collect()
}

/// Columns with names that want escaping, and one name twice.
fn all_columns() -> Vec<Column> {
    columns(&[("id", "integer"), ("na\"me", "text"), ("score", "real"), ("body", "blob"), ("id", "")])
}

/// Every storage class, and the values at which formats differ.
fn all_rows() -> Vec<Vec<Value>> {
    let max_safe = (1_i64 << 53) - 1;
    vec![
        vec![1.into(), "plain".into(), 1.5.into(), vec![0_u8, 1, 254].into(), Value::Null],
        vec![
            max_safe.into(),
            "a \"quote\",\r\na\ttab \u{1}, ü, 🫙".into(),
            1e300.into(),
            Vec::new().into(),
            2.into(),
        ],
        vec![(max_safe + 1).into(), "".into(), 2.0.into(), vec![255_u8; 4].into(), (-1).into()],
        vec![i64::MIN.into(), " padded ".into(), f64::INFINITY.into(), Value::Null, i64::MAX.into()],
        vec![0.into(), "x'00'".into(), f64::NEG_INFINITY.into(), vec![b'"'].into(), (-0.0).into()],
    ]
}

fn constraint() -> Error {
    Error::new(Kind::Constraint, "SQLITE_CONSTRAINT_UNIQUE", "UNIQUE constraint failed: t.\"id\"")
        .in_statement(2)
}

const TRAILER: Trailer =
    Trailer { time: 0.25, seq: 18_446_744_073_709_551_615, replayed: false, errors: 0, rows: 5 };

fn read(encoder: &mut dyn Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.start(&mut out);
    encoder.columns(&mut out, 0, &all_columns());
    for row in all_rows() {
        encoder.row(&mut out, &row);
    }
    encoder.end(&mut out, 5, 0.125);
    encoder.columns(&mut out, 1, &columns(&[("none", "text")]));
    encoder.end(&mut out, 0, 0.5);
    encoder.finish(&mut out, &TRAILER);
    out
}

fn write(encoder: &mut dyn Encoder) -> Vec<u8> {
    let insert = StatementResult {
        rows_affected: 2,
        last_insert_id: Some(i64::MAX),
        rows: Some(Rows { columns: all_columns(), rows: all_rows()[..2].to_vec() }),
        time: 0.125,
    };
    let update = StatementResult { rows_affected: 3, time: 1e-6, ..StatementResult::default() };
    let mut out = Vec::new();
    encoder.start(&mut out);
    encoder.changed(&mut out, 0, &insert);
    encoder.changed(&mut out, 1, &update);
    encoder.failed(&mut out, 2, &constraint());
    encoder.changed(&mut out, 3, &StatementResult::default());
    encoder.finish(&mut out, &Trailer { errors: 1, replayed: true, ..TRAILER });
    out
}

/// An answer that breaks off in the middle of the rows of its second statement.
fn broken(encoder: &mut dyn Encoder) -> Vec<u8> {
    let deadline = Error::new(Kind::Deadline, code::DEADLINE, "its time was up").in_statement(1).retryable();
    let mut out = Vec::new();
    encoder.start(&mut out);
    encoder.columns(&mut out, 0, &columns(&[("n", "integer")]));
    encoder.row(&mut out, &vec![Value::Integer(1)]);
    encoder.end(&mut out, 1, 0.125);
    encoder.columns(&mut out, 1, &columns(&[("n", "integer")]));
    encoder.row(&mut out, &vec![Value::Integer(2)]);
    encoder.abort(&mut out, &deadline);
    out
}

/// An answer without statements.
fn nothing(encoder: &mut dyn Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.start(&mut out);
    encoder.finish(&mut out, &Trailer::default());
    out
}

/// A course of calls, and what the encoder made of it.
type Story = fn(&mut dyn Encoder) -> Vec<u8>;

fn stories(name: &str, encoder: impl Fn() -> Box<dyn Encoder>, show: impl Fn(&[u8]) -> Vec<u8>) {
    let stories: [(&str, Story); 4] =
        [("read", read), ("write", write), ("broken", broken), ("nothing", nothing)];
    let (stem, extension) = name.split_once('.').unwrap();
    for (story, tell) in stories {
        assert_golden(&format!("{stem}-{story}.{extension}"), &show(&tell(&mut *encoder())));
    }
}

fn verbatim(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    msgpack_as_text(bytes).into_bytes()
}

/// One JSON document, which every reader takes.
fn valid(bytes: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    verbatim(bytes)
}

fn valid_lines(bytes: &[u8]) -> Vec<u8> {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        assert_eq!(line.last(), Some(&b'\n'));
        serde_json::from_slice::<serde_json::Value>(line).unwrap();
    }
    verbatim(bytes)
}

#[test]
fn json() {
    let style = Style::default();
    stories("json.json", || Box::new(Json::new(style)), valid);
    let pretty = Style { pretty: true, ..style };
    stories("json-pretty.json", || Box::new(Json::new(pretty)), valid);
    let objects = Style { rows: RowShape::Object, ..style };
    stories("json-objects.json", || Box::new(Json::new(objects)), valid);
    let auto = Style { ints: Ints::Auto, ..style };
    stories("json-ints-auto.json", || Box::new(Json::new(auto)), valid);
    let string = Style { ints: Ints::String, ..style };
    stories("json-ints-string.json", || Box::new(Json::new(string)), valid);
}

#[test]
fn ndjson() {
    stories("ndjson.ndjson", || Box::new(Ndjson::new(Style::default())), valid_lines);
    let objects = Style { rows: RowShape::Object, ints: Ints::Auto, pretty: false };
    stories("ndjson-objects.ndjson", || Box::new(Ndjson::new(objects)), valid_lines);
}

#[test]
fn csv() {
    let mut out = Vec::new();
    let mut encoder = Csv;
    encoder.start(&mut out);
    encoder.columns(&mut out, 0, &all_columns());
    for row in all_rows() {
        encoder.row(&mut out, &row);
    }
    encoder.end(&mut out, 5, 0.125);
    encoder.finish(&mut out, &TRAILER);
    assert_golden("csv.csv", &out);
}

#[test]
fn msgpack() {
    stories("msgpack.txt", || Box::new(Msgpack::default()), decoded);
    stories("msgpack-stream.txt", || Box::new(MsgpackStream::default()), decoded);
}

#[test]
fn msgpack_to_the_byte() {
    let shown = |bytes: &[u8]| {
        let lines = bytes.chunks(16).map(|chunk| {
            let digits: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            digits.join(" ") + "\n"
        });
        lines.collect::<String>().into_bytes()
    };
    assert_golden("msgpack-read.hex", &shown(&read(&mut Msgpack::default())));
    assert_golden("msgpack-stream-read.hex", &shown(&read(&mut MsgpackStream::default())));
}

#[test]
fn rqlite() {
    let options = RqliteOptions::default();
    stories("rqlite.json", || Box::new(Rqlite::new(options)), valid);
    let timings = RqliteOptions { timings: true, ..options };
    stories("rqlite-timings.json", || Box::new(Rqlite::new(timings)), valid);
    let associative = RqliteOptions { associative: true, timings: true, ..options };
    stories("rqlite-associative.json", || Box::new(Rqlite::new(associative)), valid);
    let arrays = RqliteOptions { blob_array: true, ..options };
    stories("rqlite-blob-array.json", || Box::new(Rqlite::new(arrays)), valid);
}

#[test]
fn media_types() {
    let encoders: [(&dyn Encoder, &str, bool); 6] = [
        (&Json::default(), "application/json", true),
        (&Ndjson::default(), "application/x-ndjson", true),
        (&Csv, "text/csv", true),
        (&Msgpack::default(), "application/vnd.msgpack", false),
        (&MsgpackStream::default(), "application/vnd.larder.msgpack-stream", true),
        (&Rqlite::default(), "application/json", true),
    ];
    for (encoder, media_type, streams) in encoders {
        assert_eq!((encoder.media_type(), encoder.streams()), (media_type, streams));
    }
}
