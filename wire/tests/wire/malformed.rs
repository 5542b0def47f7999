//! Bodies that are no requests: each is refused with a code, the statement where it is known, and the byte where reading stopped.

use larder_wire::{BodyError, Request, code};

type Decode = fn(&[u8]) -> Result<Request, BodyError>;

/// What is wrong, the body, and where the error is said to be: statement and offset.
type Case<'b> = (&'static str, &'b [u8], Option<usize>, Option<usize>);

fn refuses(decode: Decode, code: &str, cases: &[Case<'_>]) {
    for (name, body, statement, offset) in cases {
        let error = decode(body).expect_err(name);
        assert_eq!(
            (error.code, error.statement, error.offset),
            (code, *statement, *offset),
            "{name}: {error}"
        );
        assert!(error.message.len() < 500, "{name}: {error}");
        assert!(!error.message.contains(" at line "), "{name}: {error}");
    }
}

#[test]
fn json_is_malformed() {
    refuses(
        Request::from_json,
        code::BODY_MALFORMED,
        &[
            ("empty body", b"", None, Some(0)),
            ("only white space", b" \n\t", None, Some(3)),
            ("not JSON", b"SELECT 1", None, Some(0)),
            ("a bare word", b"nul", None, Some(3)),
            ("a scalar", b"17", None, Some(0)),
            ("null", b"null", None, Some(3)),
            ("a string instead of an array", b"\"SELECT 1\"", None, Some(9)),
            ("a byte order mark", b"\xef\xbb\xbf[]", None, Some(0)),
            ("a comment", b"[\"SELECT 1\" /* one */]", Some(1), Some(12)),
            ("single quotes", b"['SELECT 1']", Some(0), Some(1)),
            ("trailing comma", b"[\"SELECT 1\",]", Some(1), Some(12)),
            ("missing comma", b"[\"SELECT 1\" \"SELECT 2\"]", Some(1), Some(12)),
            ("two documents", b"[\"SELECT 1\"][\"SELECT 2\"]", None, Some(12)),
            ("bytes behind the request", b"[\"SELECT 1\"]\n x", None, Some(14)),
            ("NUL behind the request", b"[\"SELECT 1\"]\x00", None, Some(12)),
            ("truncated in the array", b"[\"SELECT 1\", \"SELECT 2\"", Some(2), Some(23)),
            ("truncated in a string", b"[\"SELECT 1\", \"SEL", Some(1), Some(17)),
            ("truncated in an escape", b"[\"SELECT \\u00", Some(0), Some(13)),
            ("truncated in a number", b"[[\"SELECT ?\", 1", Some(0), Some(15)),
            ("truncated in a literal", b"[[\"SELECT ?\", tru", Some(0), Some(17)),
            ("truncated in the envelope", b"{\"statements\": [\"SELECT 1\"]", None, Some(27)),
            ("truncated behind a key", b"{\"statements\"", None, Some(13)),
            ("bad escape", b"[\"SELECT \\x\"]", Some(0), Some(10)),
            ("lone surrogate", b"[\"SELECT \\ud800\"]", Some(0), Some(15)),
            ("line break in a string", b"[\"SELECT 1\n\"]", Some(0), Some(10)),
            ("control character in a string", b"[\"\x01\"]", Some(0), Some(2)),
            ("deep arrays", &b"[".repeat(200), Some(0), Some(1)),
            (
                "deep arrays in an argument",
                &[&b"[[\"SELECT ?\", "[..], &b"[".repeat(200)].concat(),
                Some(0),
                Some(14),
            ),
            (
                "deep objects in an argument",
                &[&b"[[\"SELECT ?\", "[..], &b"{\"a\":".repeat(200)].concat(),
                Some(0),
                Some(22),
            ),
            ("a number as statement", b"[\"SELECT 1\", 2]", Some(1), Some(13)),
            ("null as statement", b"[\"SELECT 1\", null]", Some(1), Some(16)),
            ("true as statement", b"[true]", Some(0), Some(4)),
            ("forgotten brackets", b"[\"SELECT ?\", 1]", Some(1), Some(13)),
            ("an empty array as statement", b"[[]]", Some(0), Some(2)),
            ("SQL that is a number", b"[[1]]", Some(0), Some(2)),
            ("SQL that is null", b"[[null]]", Some(0), Some(5)),
            ("SQL that is an object", b"[[{\"sql\": \"SELECT 1\"}]]", Some(0), Some(1)),
            ("an array as argument", b"[[\"SELECT ?\", [1]]]", Some(0), Some(14)),
            ("an array among named arguments", b"[[\"SELECT :a\", {\"a\": [1]}]]", Some(0), Some(21)),
            ("an object among named arguments", b"[[\"SELECT :a\", {\"a\": {\"b\": 1}}]]", Some(0), Some(24)),
            ("an empty object as value", b"[{\"sql\": \"SELECT ?\", \"params\": [{}]}]", Some(0), Some(33)),
            ("positional before named", b"[[\"SELECT ?, :a\", 1, {\"a\": 1}]]", Some(0), Some(29)),
            ("named before positional", b"[[\"SELECT ?, :a\", {\"a\": 1}, 1]]", Some(0), Some(29)),
            ("two objects of names", b"[[\"SELECT :a, :b\", {\"a\": 1}, {\"b\": 1}]]", Some(0), Some(37)),
            ("argument named twice", b"[[\"SELECT :a\", {\"a\": 1, \"a\": 2}]]", Some(0), Some(26)),
            (
                "argument named twice in params",
                b"[\"SELECT 1\", {\"sql\": \"SELECT :a\", \"params\": {\"a\": 1, \"a\": 2}}]",
                Some(1),
                Some(55),
            ),
            ("blob that is not base64", b"[[\"SELECT ?\", {\"$blob\": \"a b=\"}]]", Some(0), Some(29)),
            ("blob with the URL alphabet", b"[[\"SELECT ?\", {\"$blob\": \"-_-_\"}]]", Some(0), Some(29)),
            ("blob of an impossible length", b"[[\"SELECT ?\", {\"$blob\": \"AAAAA\"}]]", Some(0), Some(30)),
            ("blob with loose bits", b"[[\"SELECT ?\", {\"$blob\": \"AB==\"}]]", Some(0), Some(29)),
            ("blob that is a number", b"[[\"SELECT ?\", {\"$blob\": 1}]]", Some(0), Some(24)),
            ("blob that is null", b"[[\"SELECT ?\", {\"$blob\": null}]]", Some(0), Some(27)),
            (
                "blob with a neighbour",
                b"[[\"SELECT ?\", {\"$blob\": \"AA==\", \"x\": 1}]]",
                Some(0),
                Some(34),
            ),
            (
                "blob written twice",
                b"[[\"SELECT ?\", {\"$blob\": \"AA==\", \"$blob\": \"AA==\"}]]",
                Some(0),
                Some(38),
            ),
            (
                "unknown form in params",
                b"[{\"sql\": \"SELECT ?\", \"params\": [{\"$date\": \"2020\"}]}]",
                Some(0),
                Some(39),
            ),
            ("$int that is no integer", b"[[\"SELECT ?\", {\"$int\": \"1.0\"}]]", Some(0), Some(27)),
            ("$int that is empty", b"[[\"SELECT ?\", {\"$int\": \"\"}]]", Some(0), Some(24)),
            ("$int that is a number", b"[[\"SELECT ?\", {\"$int\": 1}]]", Some(0), Some(23)),
            ("$real NaN", b"[[\"SELECT ?\", {\"$real\": \"NaN\"}]]", Some(0), Some(28)),
            ("$real of a number", b"[[\"SELECT ?\", {\"$real\": \"1.5\"}]]", Some(0), Some(28)),
            ("$real in lower case", b"[[\"SELECT ?\", {\"$real\": \"infinity\"}]]", Some(0), Some(33)),
            ("NaN", b"[[\"SELECT ?\", NaN]]", Some(0), Some(14)),
            ("Infinity", b"[[\"SELECT ?\", -Infinity]]", Some(0), Some(15)),
            ("leading zero", b"[[\"SELECT ?\", 01]]", Some(0), Some(14)),
            ("leading plus", b"[[\"SELECT ?\", +1]]", Some(0), Some(14)),
            ("bare point", b"[[\"SELECT ?\", .5]]", Some(0), Some(14)),
            ("hexadecimal", b"[[\"SELECT ?\", 0x10]]", Some(0), Some(15)),
            (
                "unknown field of the envelope",
                b"{\"statements\": [], \"statement\": \"SELECT 1\"}",
                None,
                Some(29),
            ),
            ("envelope without statements", b"{\"atomic\": true}", None, Some(15)),
            ("empty envelope", b"{}", None, Some(1)),
            ("statements twice", b"{\"statements\": [\"SELECT 1\"], \"statements\": []}", None, Some(45)),
            ("atomic twice", b"{\"atomic\": true, \"atomic\": true, \"statements\": []}", None, Some(30)),
            ("statements that is a string", b"{\"statements\": \"SELECT 1\"}", None, Some(24)),
            ("statements that is null", b"{\"statements\": null}", None, Some(18)),
            ("atomic that is a number", b"{\"statements\": [], \"atomic\": 1}", None, Some(29)),
            ("negative timeout", b"{\"statements\": [], \"timeout_ms\": -1}", None, Some(33)),
            ("fractional timeout", b"{\"statements\": [], \"timeout_ms\": 1.5}", None, Some(33)),
            (
                "timeout beyond u64",
                b"{\"statements\": [], \"timeout_ms\": 18446744073709551616}",
                None,
                Some(33),
            ),
            ("unknown row shape", b"{\"statements\": [], \"rows\": \"table\"}", None, Some(33)),
            ("unknown form of integers", b"{\"statements\": [], \"ints\": \"hex\"}", None, Some(31)),
            ("unknown field of a statement", b"[{\"sql\": \"SELECT ?\", \"args\": [1]}]", Some(0), Some(26)),
            ("statement without SQL", b"[{\"params\": [1]}]", Some(0), Some(15)),
            ("SQL twice", b"[{\"sql\": \"SELECT 1\", \"sql\": \"SELECT 2\"}]", Some(0), Some(38)),
            (
                "params twice",
                b"[{\"sql\": \"SELECT ?\", \"params\": [1], \"params\": [2]}]",
                Some(0),
                Some(49),
            ),
            (
                "params and many",
                b"[{\"sql\": \"INSERT\", \"params\": [1], \"many\": [[1]]}]",
                Some(0),
                Some(47),
            ),
            ("params that is a number", b"[{\"sql\": \"SELECT ?\", \"params\": 1}]", Some(0), Some(31)),
            ("many that is an object", b"[{\"sql\": \"INSERT\", \"many\": {\"a\": 1}}]", Some(0), Some(26)),
            ("many of scalars", b"[{\"sql\": \"INSERT\", \"many\": [1, 2]}]", Some(0), Some(28)),
            ("negative expectation", b"[{\"sql\": \"DELETE\", \"expect_rows\": -1}]", Some(0), Some(34)),
            ("fractional expectation", b"[{\"sql\": \"DELETE\", \"expect_rows\": 1.0}]", Some(0), Some(34)),
            (
                "expectation that is a string",
                b"[{\"sql\": \"DELETE\", \"expect_rows\": \"1\"}]",
                Some(0),
                Some(36),
            ),
            ("invalid UTF-8 in the SQL", b"[\"SELECT '\xff'\"]", Some(0), Some(10)),
            ("invalid UTF-8 in a value", b"[\"SELECT 1\", [\"SELECT ?\", \"\xc3(\"]]", Some(1), Some(27)),
            ("invalid UTF-8 in a name", b"[[\"SELECT :a\", {\"\xed\xa0\x80\": 1}]]", Some(0), Some(17)),
            ("UTF-16", b"\xff\xfe[\x00]\x00", None, Some(0)),
            ("invalid UTF-8 outside strings", b"[\xff]", Some(0), Some(1)),
        ],
    );
}

#[test]
fn json_is_out_of_range() {
    refuses(
        Request::from_json,
        code::VALUE_OUT_OF_RANGE,
        &[
            ("$int above 64 bits", b"[[\"SELECT ?\", {\"$int\": \"9223372036854775808\"}]]", Some(0), Some(43)),
            ("$int below 64 bits", b"[[\"SELECT ?\", {\"$int\": \"-9223372036854775809\"}]]", Some(0), Some(44)),
            ("double beyond its range", b"[\"SELECT 1\", [\"SELECT ?\", 1e999]]", Some(1), Some(26)),
            ("integer above i64", b"[\"SELECT 1\", [\"SELECT ?\", 9223372036854775808]]", Some(1), Some(26)),
            ("integer below i64", b"[\"SELECT 1\", [\"SELECT ?\", -9223372036854775809]]", Some(1), Some(26)),
            ("largest u64", b"[[\"SELECT ?\", 18446744073709551615]]", Some(0), Some(14)),
            ("integer beyond u64", b"[[\"SELECT ?\", 18446744073709551616]]", Some(0), Some(14)),
            ("integer far beyond u64", b"[[\"SELECT ?\", 1], [\"SELECT ?\", -123456789012345678901234567890]]", Some(1), Some(31)),
            ("integer beyond u64, by name", b"[[\"SELECT :a\", {\"a\": 18446744073709551616}]]", Some(0), Some(21)),
            ("integer beyond u64 in params", b"{\"statements\": [\"SELECT 1\", {\"sql\": \"SELECT ?\", \"params\": [18446744073709551616]}]}", Some(1), Some(59)),
            ("integer beyond u64 in named params", b"[{\"params\": {\"a\": 18446744073709551616}, \"sql\": \"SELECT :a\"}]", Some(0), Some(18)),
            ("integer beyond u64 in many", b"[\"x,y\", {\"sql\": \"INSERT\", \"many\": [[1], [2, 99999999999999999999]]}]", Some(1), Some(44)),
            ("integer above i64 in many", b"[{\"sql\": \"INSERT\", \"many\": [[1], [9223372036854775808]]}]", Some(0), Some(34)),
            ("integer beyond u64 behind quoted brackets", b"[\"[\\\"[\", [\"{\", 1e300, 99999999999999999999]]", Some(1), Some(22)),
        ],
    );
}

#[test]
fn msgpack_is_malformed() {
    refuses(
        Request::from_msgpack,
        code::BODY_MALFORMED,
        &[
            ("empty body", b"", None, Some(0)),
            ("nil", b"\xc0", None, Some(0)),
            ("a scalar", b"\x01", None, Some(0)),
            ("a string instead of an array", b"\xa8SELECT 1", None, Some(0)),
            ("reserved byte", b"\xc1", None, Some(0)),
            ("reserved byte as statement", b"\x92\xa8SELECT 1\xc1", Some(1), Some(10)),
            ("bytes behind the request", b"\x91\xa8SELECT 1\x00", None, Some(10)),
            ("truncated array", b"\x92\xa8SELECT 1", Some(1), Some(10)),
            ("truncated string", b"\x91\xa9SELECT", Some(0), Some(8)),
            ("truncated string header", b"\x91\xda\x00", Some(0), Some(3)),
            ("truncated integer", b"\x91\x92\xa1S\xd3\x00\x00", Some(0), Some(7)),
            ("truncated double", b"\x91\x92\xa1S\xcb\x00", Some(0), Some(6)),
            ("truncated blob", b"\x91\x92\xa1S\xc4\x05ab", Some(0), Some(8)),
            ("array of 4 GiB entries", b"\xdd\xff\xff\xff\xff", Some(0), Some(5)),
            ("map of 4 GiB entries", b"\xdf\xff\xff\xff\xff", None, Some(5)),
            ("string of 4 GiB", b"\x91\xdb\xff\xff\xff\xff", Some(0), Some(6)),
            ("blob of 4 GiB", b"\x91\x92\xa1S\xc6\xff\xff\xff\xff", Some(0), Some(9)),
            ("arguments of 4 GiB entries", b"\x91\xdd\xff\xff\xff\xff\xa1S\x01", Some(0), Some(9)),
            ("many of 4 GiB entries", b"\x91\x81\xa4many\xdd\xff\xff\xff\xff", Some(0), Some(12)),
            ("deep arrays", &b"\x91".repeat(200), Some(0), Some(2)),
            (
                "deep maps in an argument",
                &[&b"\x91\x92\xa1S"[..], &b"\x81\xa1a".repeat(200)].concat(),
                Some(0),
                Some(8),
            ),
            ("a number as statement", b"\x92\xa8SELECT 1\x01", Some(1), Some(10)),
            ("nil as statement", b"\x91\xc0", Some(0), Some(1)),
            ("an empty array as statement", b"\x91\x90", Some(0), Some(1)),
            ("SQL as bytes", b"\x91\x91\xc4\x01S", Some(0), Some(2)),
            ("SQL that is nil", b"\x91\x91\xc0", Some(0), Some(2)),
            ("an array as argument", b"\x91\x92\xa1S\x91\x01", Some(0), Some(4)),
            ("extension as argument", b"\x92\xa1S\x92\xa1S\xd4\x01\x00", Some(1), Some(6)),
            ("timestamp as argument", b"\x91\x92\xa1S\xd6\xff\x00\x00\x00\x00", Some(0), Some(4)),
            ("NaN", b"\x91\x92\xa1S\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", Some(0), Some(4)),
            ("NaN of 32 bits", b"\x91\x92\xa1S\xca\x7f\xc0\x00\x00", Some(0), Some(4)),
            ("invalid UTF-8 in the SQL", b"\x91\xa1\xff", Some(0), Some(1)),
            ("invalid UTF-8 in a value", b"\x92\xa1S\x93\xa1S\x01\xa2\xc3(", Some(1), Some(7)),
            ("invalid UTF-8 beside a blob", b"\x91\x93\xa1S\xc4\x01\xff\xa1\xff", Some(0), Some(7)),
            (
                "invalid UTF-8 in many",
                b"\x82\xa6atomic\xc3\xaastatements\x92\xa1S\x82\xa4many\x92\x91\x01\x91\xa1\xff\xa3sql\xa1S",
                Some(1),
                Some(33),
            ),
            ("invalid UTF-8 in a name", b"\x91\x92\xa1S\x81\xa1\xff\x01", Some(0), Some(5)),
            ("invalid UTF-8 in a key", b"\x81\xa1\xff\x90", None, Some(1)),
            ("a number as key", b"\x81\x01\x90", None, Some(1)),
            ("nil as key", b"\x81\xc0\x90", None, Some(1)),
            ("argument named twice", b"\x91\x92\xa1S\x82\xa1a\x01\xa1a\x01", Some(0), Some(8)),
            ("statements twice", b"\x82\xaastatements\x90\xaastatements\x90", None, Some(24)),
            ("envelope without statements", b"\x80", None, Some(0)),
            ("unknown field of the envelope", b"\x81\xa9statement\xa1S", None, Some(1)),
            ("unknown field of a statement", b"\x91\x82\xa3sql\xa1S\xa4args\x90", Some(0), Some(8)),
            ("negative timeout", b"\x82\xaastatements\x90\xaatimeout_ms\xff", None, Some(24)),
            ("atomic that is a number", b"\x82\xaastatements\x90\xa6atomic\x01", None, Some(20)),
            ("unknown row shape", b"\x82\xaastatements\x90\xa4rows\xa5table", None, Some(18)),
            ("positional before named", b"\x91\x93\xa1S\x01\x81\xa1a\x01", Some(0), Some(8)),
            ("named before positional", b"\x91\x93\xa1S\x81\xa1a\x01\x01", Some(0), Some(8)),
            ("blob that is not base64", b"\x91\x92\xa1S\x81\xa5$blob\xa1?", Some(0), Some(11)),
            ("statement without SQL", b"\x91\x80", Some(0), Some(1)),
            ("negative expectation", b"\x91\x82\xa3sql\xa1S\xabexpect_rows\xff", Some(0), Some(20)),
        ],
    );
}

#[test]
fn msgpack_is_out_of_range() {
    refuses(
        Request::from_msgpack,
        code::VALUE_OUT_OF_RANGE,
        &[
            (
                "integer above i64",
                b"\x92\x92\xa1S\x01\x92\xa1S\xcf\x80\x00\x00\x00\x00\x00\x00\x00",
                Some(1),
                Some(8),
            ),
            (
                "integer above i64, by name",
                b"\x91\x92\xa1S\x81\xa1a\xcf\x80\x00\x00\x00\x00\x00\x00\x00",
                Some(0),
                Some(7),
            ),
            (
                "integer above i64 in many",
                b"\x91\x82\xa3sql\xa1S\xa4many\x92\x91\x01\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
                Some(0),
                Some(17),
            ),
        ],
    );
}

#[test]
fn rqlite_is_malformed() {
    refuses(
        Request::from_rqlite_json,
        code::BODY_MALFORMED,
        &[
            ("a string instead of an array", b"\"SELECT 1\"", None, Some(9)),
            ("an envelope", b"{\"statements\": [\"SELECT 1\"]}", None, Some(0)),
            ("an empty array as statement", b"[[]]", Some(0), Some(2)),
            ("an object as statement", b"[{\"sql\": \"SELECT 1\"}]", Some(0), Some(1)),
            ("forgotten brackets", b"[\"SELECT ?\", 1]", Some(1), Some(13)),
            ("byte beyond its range", b"[[\"SELECT ?\", [0, 256]]]", Some(0), Some(18)),
            ("negative byte", b"[[\"SELECT ?\", [-1]]]", Some(0), Some(15)),
            ("a string among bytes", b"[\"SELECT 1\", [\"SELECT ?\", [1, \"a\"]]]", Some(1), Some(32)),
            ("fraction among bytes", b"[[\"SELECT ?\", [1.0]]]", Some(0), Some(15)),
            (
                "an object as named value",
                b"[[\"SELECT :a\", {\"a\": {\"$blob\": \"AA==\"}}]]",
                Some(0),
                Some(38),
            ),
            ("mixed arguments", b"[[\"SELECT ?, :a\", 1, {\"a\": 1}]]", Some(0), Some(29)),
            ("two objects of names", b"[[\"SELECT :a, :b\", {\"a\": 1}, {\"b\": 1}]]", Some(0), Some(37)),
            ("argument named twice", b"[[\"SELECT :a\", {\"a\": 1, \"a\": 2}]]", Some(0), Some(26)),
            ("truncated blob", b"[[\"SELECT ?\", [1, 2", Some(0), Some(19)),
        ],
    );
}

#[test]
fn rqlite_is_out_of_range() {
    refuses(
        Request::from_rqlite_json,
        code::VALUE_OUT_OF_RANGE,
        &[
            ("integer above i64", b"[[\"SELECT ?\", 9223372036854775808]]", Some(0), Some(14)),
            (
                "integer beyond u64",
                b"[\"SELECT 1\", [\"SELECT ?\", [1, 2], 99999999999999999999]]",
                Some(1),
                Some(34),
            ),
        ],
    );
}

#[test]
fn text_is_malformed() {
    refuses(
        Request::from_text,
        code::BODY_MALFORMED,
        &[
            ("empty", b"", None, None),
            ("white space", b" \n\t", None, None),
            ("invalid UTF-8", b"SELECT '\xc3('", None, Some(8)),
            ("invalid UTF-8 at the end", b"SELECT 1 \xe2\x82", None, Some(9)),
        ],
    );
}

#[test]
fn too_much_for_one_request() {
    let many_statements = format!("[{}\"S\"]", "\"S\",".repeat(larder_wire::MAX_STATEMENTS));
    let many_values = format!("[[\"S\"{}]]", ",1".repeat(larder_wire::MAX_VALUES + 1));
    let many_sets = format!(r#"[{{"sql":"S","many":[{}[]]}}]"#, "[],".repeat(larder_wire::MAX_VALUES));
    for (body, statement) in
        [(many_statements, larder_wire::MAX_STATEMENTS), (many_values, 0), (many_sets, 0)]
    {
        for decode in [Request::from_json, Request::from_rqlite_json]
            .into_iter()
            .take(1 + usize::from(!body.contains("many")))
        {
            let error = decode(body.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.statement), (code::BODY_TOO_LARGE, Some(statement)), "{error}");
        }
    }
    let at_the_limit = format!("[{}\"S\"]", "\"S\",".repeat(larder_wire::MAX_STATEMENTS - 1));
    assert_eq!(
        Request::from_json(at_the_limit.as_bytes()).unwrap().statements.len(),
        larder_wire::MAX_STATEMENTS
    );
}

#[test]
fn a_message_quotes_little_and_a_code_is_not_chosen_by_the_caller() {
    let long = format!(
        r#"["{}", "integer x is out of the range", {{"integer 1 is out of the range": 1}}]"#,
        "x".repeat(1 << 20)
    );
    let error = Request::from_json(format!("{{\"a\": 1, \"statements\": {long}}}").as_bytes()).unwrap_err();
    assert_eq!(error.code, code::BODY_MALFORMED);
    let error = Request::from_json(long.as_bytes()).unwrap_err();
    assert_eq!((error.code, error.statement), (code::BODY_MALFORMED, Some(2)), "{error}");
    let error = Request::from_json(format!("\"{}\"", "ü".repeat(1 << 20)).as_bytes()).unwrap_err();
    assert!(error.message.len() < 500 && error.message.contains(" … "), "{error}");
}
