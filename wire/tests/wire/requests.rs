//! Requests in every form: what a form means, and how requests are written.

use larder_wire::{Args, Bindings, Ints, Request, RowShape, Statement, Value};

use crate::golden::{assert_golden, golden, msgpack_as_text};

fn named(sql: &str, pairs: &[(&str, Value)]) -> Statement {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Statement { args: Args::One(Bindings::Named(pairs)), ..Statement::new(sql) }
}

fn every_form() -> Request {
    let values: Vec<Value> = vec![
        Value::Null,
        true.into(),
        i64::MIN.into(),
        i64::MAX.into(),
        0.1.into(),
        5e-324.into(),
        f64::INFINITY.into(),
        f64::NEG_INFINITY.into(),
        "x'00' ü 🫙 \"\\\n\u{0}".into(),
        vec![0_u8, 255].into(),
        Vec::new().into(),
    ];
    let statements = vec![
        Statement::new("SELECT 1"),
        Statement::with("INSERT INTO t VALUES (?)", values),
        named("SELECT :a, :b", &[("a", 1.into()), ("b", "two".into())]),
        Statement::many(
            "INSERT INTO t VALUES (?, ?)",
            [vec![1.into(), "a".into()], vec![2.into(), Value::Null]],
        ),
        Statement {
            args: Args::Many(vec![Bindings::Named(vec![("a".to_owned(), 1.into())]), Bindings::NONE]),
            ..Statement::new("INSERT INTO t VALUES (:a)").expecting(2)
        },
        Statement::with("DELETE FROM t WHERE id = ?", [7.into()]).expecting(u64::MAX),
    ];
    Request {
        statements,
        atomic: Some(false),
        timeout_ms: Some(5000),
        rows: Some(RowShape::Object),
        ints: Some(Ints::Auto),
    }
}

#[test]
fn written_as_json() {
    let mut written = serde_json::to_vec_pretty(&every_form()).unwrap();
    written.push(b'\n');
    assert_golden("request.json", &written);
    assert_eq!(Request::from_json(&golden("request.json")).unwrap(), every_form());
}

#[test]
fn written_as_msgpack() {
    let written = rmp_serde::to_vec(&every_form()).unwrap();
    assert_golden("request-msgpack.txt", msgpack_as_text(&written).as_bytes());
    assert_eq!(Request::from_msgpack(&written).unwrap(), every_form());
}

#[test]
fn text() {
    let sql = "SELECT 'ü' -- a comment\n;";
    assert_eq!(Request::from_text(sql.as_bytes()).unwrap(), Request::new([Statement::new(sql)]));
}

#[test]
fn json_forms() {
    let means = |body: &str, statement: Statement| {
        let request = Request::from_json(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(request, Request::new([statement]), "{body}");
    };
    means(r#"["S"]"#, Statement::new("S"));
    means(r#" [ [ "S" ] ] "#, Statement::new("S"));
    means(r#"[["S", {}]]"#, named("S", &[]));
    means(
        r#"[["S", {"a": 1, "b": {"$blob": "AA"}}]]"#,
        named("S", &[("a", 1.into()), ("b", vec![0_u8].into())]),
    );
    means(r#"{"statements": ["S"]}"#, Statement::new("S"));
    means(r#"[{"sql": "S"}]"#, Statement::new("S"));
    means(r#"[{"sql": "S", "params": null, "expect_rows": null}]"#, Statement::new("S"));
    means(
        r#"[{"params": [1], "sql": "S", "expect_rows": 0}]"#,
        Statement::with("S", [1.into()]).expecting(0),
    );
    means(r#"[{"sql": "S", "params": {"$blob": "AA"}}]"#, named("S", &[("$blob", "AA".into())]));
    means(r#"[{"sql": "S", "many": []}]"#, Statement::many("S", []));
}

#[test]
fn json_values() {
    let means = |literal: &str, value: Value| {
        let body = format!(r#"[["S", {literal}]]"#);
        let request =
            Request::from_json(body.as_bytes()).unwrap_or_else(|error| panic!("{literal}: {error}"));
        assert_eq!(request, Request::new([Statement::with("S", [value])]), "{literal}");
    };
    means("null", Value::Null);
    means("false", 0.into());
    means("-9223372036854775808", i64::MIN.into());
    means("9223372036854775807", i64::MAX.into());
    means("9007199254740993", 9_007_199_254_740_993_i64.into());
    means("9223372036854775808.0", 9_223_372_036_854_775_808.0.into());
    means("1e19", 1e19.into());
    means("1.0", 1.0.into());
    means("0.30000000000000004", (0.1 + 0.2).into());
    means("2.2250738585072011e-308", 2.225_073_858_507_201e-308.into());
    means("1e-999", 0.0.into());
    means(r#""99999999999999999999""#, "99999999999999999999".into());
    means(r#""\ud83e\uded9""#, "🫙".into());
    means(r#"{"$int": "-9223372036854775808"}"#, i64::MIN.into());
    means(r#"{"$real": "-Infinity"}"#, f64::NEG_INFINITY.into());
    means(r#"{"$blob": ""}"#, Vec::new().into());
    means(r#"{"$blob": "+/+/AA=="}"#, vec![0xfb_u8, 0xff, 0xbf, 0].into());
    means(r#"{"$blob": "+/+/AA"}"#, vec![0xfb_u8, 0xff, 0xbf, 0].into());
}

/// A count may lie beyond `i64`, and a double beyond it beside that count is still no integer.
#[test]
fn wide_counts_stand_beside_wide_doubles() {
    let body = br#"[{"sql": "S", "params": [1e19], "expect_rows": 18446744073709551615}]"#;
    let expected = Statement::with("S", [1e19.into()]).expecting(u64::MAX);
    assert_eq!(Request::from_json(body).unwrap(), Request::new([expected]));
}

#[test]
fn msgpack_forms() {
    let means = |body: &[u8], statement: Statement| {
        assert_eq!(Request::from_msgpack(body).unwrap(), Request::new([statement]), "{body:02x?}");
    };
    means(b"\x91\xa1S", Statement::new("S"));
    means(b"\xdc\x00\x01\xd9\x01S", Statement::new("S"));
    means(b"\xdd\x00\x00\x00\x01\xda\x00\x01S", Statement::new("S"));
    means(b"\x91\x92\xa1S\xc4\x01\xff", Statement::with("S", [vec![0xff_u8].into()]));
    means(b"\x91\x92\xa1S\xc6\x00\x00\x00\x00", Statement::with("S", [Vec::new().into()]));
    means(b"\x91\x92\xa1S\xca\x3f\x80\x00\x00", Statement::with("S", [1.0.into()]));
    means(b"\x91\x92\xa1S\xd0\xff", Statement::with("S", [(-1).into()]));
    means(b"\x91\x92\xa1S\xcd\xff\xff", Statement::with("S", [65_535.into()]));
    means(b"\x91\x92\xa1S\x81\xa5$blob\xa4AAEC", Statement::with("S", [vec![0_u8, 1, 2].into()]));
    means(b"\x91\x92\xa1S\x81\xa1a\xc3", named("S", &[("a", 1.into())]));
    means(b"\x91\x82\xa3sql\xa1S\xabexpect_rows\xc0", Statement::new("S"));
}

#[test]
fn rqlite_forms() {
    let means = |body: &str, statement: Statement| {
        let request =
            Request::from_rqlite_json(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(request, Request::new([statement]), "{body}");
    };
    means(r#"["S"]"#, Statement::new("S"));
    means(r#"[["S"]]"#, Statement::new("S"));
    means(
        r#"[["S", 1, 1.5, "x'00'", null, true]]"#,
        Statement::with("S", [1.into(), 1.5.into(), "x'00'".into(), Value::Null, 1.into()]),
    );
    means(r#"[["S", [0, 255], []]]"#, Statement::with("S", [vec![0_u8, 255].into(), Vec::new().into()]));
    means(r#"[["S", {"a": 1, "b": [1]}]]"#, named("S", &[("a", 1.into()), ("b", vec![1_u8].into())]));
    means(r#"[["S", {"$blob": "AA"}]]"#, named("S", &[("$blob", "AA".into())]));
    assert_eq!(Request::from_rqlite_json(b"[]").unwrap(), Request::default());
}
