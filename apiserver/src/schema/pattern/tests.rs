//! What was asked of Go's `regexp` too.

use super::*;

/// Patterns, texts that match and texts that do not.
const TAKEN: &[(&str, &[&str], &[&str])] = &[
    ("^{a}$", &["{a}"], &["a"]),
    ("^a{,3}$", &["a{,3}"], &["aaa"]),
    ("^a{$", &["a{"], &["a"]),
    ("^a{2}$", &["aa"], &["a", "aaa", "a{2}"]),
    ("^a{2,}$", &["aa", "aaa"], &["a"]),
    ("^a{02}$", &["a{02}"], &["aa"]),
    ("^a{0}b{0,1}?$", &["", "b"], &["a"]),
    ("^[[a]+$", &["[a["], &["b"]),
    ("^[]a]$", &["]", "a"], &["b"]),
    ("^[^]a]$", &["b", "\n"], &["]", "a"]),
    (r"^\Qa.b\E$", &["a.b"], &["axb"]),
    (r"^\Qa.b", &["a.bc"], &["axb"]),
    (r"^\123\0\07\x41\x{263a}$", &["S\0\x07A☺"], &["S"]),
    (r"^[\d-z]+$", &["1-z"], &["a"]),
    (r"^[a-]+$", &["a-"], &["b"]),
    (r"^[+--]$", &["+", ",", "-"], &["."]),
    (r"^\p{^Greek}$", &["a"], &["α"]),
    (r"^\P{^Greek}\pL\p{Lu}[\p{Greek}]$", &["αaAβ"], &["aaAβ"]),
    (r"^\d+$", &["12"], &["٣"]),
    (r"^\w+\s?$", &["a_1 "], &["ä", "a\u{b}", "a\u{a0}"]),
    (r"^[\w\s]+$", &["a b"], &["ä"]),
    (r"^\D\W\S$", &["٣ä\u{a0}"], &["1ää"]),
    (r"\bfoo\b", &["äfoo", "foo ", "a-foo-b"], &["afoo"]),
    (r"\Bfoo", &["afoo"], &["äfoo", "foo"]),
    ("^[~~#]+$", &["~~#"], &["a"]),
    ("^[a&&b]+$", &["a&b"], &["c"]),
    (r"^\_\-\<\>\/\ $", &["_-<>/ "], &[""]),
    ("(?i)^ABC$", &["abc"], &["abd"]),
    ("^(?i:a)b$", &["Ab"], &["AB"]),
    ("(?s-i)^a.b$", &["a\nb"], &["A\nb"]),
    ("^a.b$", &["axb", "aäb"], &["a\nb"]),
    ("^(?:a|b)(?P<x>c)(?<y>d)$", &["acd"], &["cd"]),
    ("a$", &["ba"], &["a\n"]),
    ("(?m)^a$", &["b\na\n"], &["ba"]),
    ("^*a||b", &["a", "b", ""], &[]),
    ("^[[:alpha:][:^digit:]]$", &["a", "-"], &["1"]),
    ("^(a{10}){100}$", &[], &["a"]),
    ("^[^a]{3}$", &["bbb", "äöü"], &["bab"]),
    ("^a(?i)+bc$", &["aaBC"], &["Abc"]),
    (r"^#x \n$", &["#x \n"], &["x"]),
];

#[test]
fn patterns_mean_what_they_mean_in_go() {
    for (pattern, matching, others) in TAKEN {
        let read = Pattern::read(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        matching.iter().for_each(|it| assert!(read.is_match(it), "{pattern} on {it:?}"));
        others.iter().for_each(|it| assert!(!read.is_match(it), "{pattern} on {it:?}"));
    }
}

#[test]
fn what_go_refuses_is_refused_in_its_words() {
    for (pattern, reason) in [
        ("a**", "invalid nested repetition operator: `*`"),
        ("a{2}{3}", "invalid nested repetition operator: `{3}`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("a{3,2}", "invalid repeat count: `{3,2}`"),
        ("(a{100}){11}", "invalid repeat count: `{11}`"),
        ("*a", "missing argument to repetition operator: `*`"),
        ("(|*a)", "missing argument to repetition operator: `*`"),
        ("(?x)a", "invalid or unsupported Perl syntax: `(?x)a`"),
        ("(?R)a", "invalid or unsupported Perl syntax: `(?R)a`"),
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=a)`"),
        ("(?i-)a", "invalid or unsupported Perl syntax: `(?i-)a`"),
        ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
        ("(?P<a-b>c)", "invalid named capture: `(?P<a-b>c)`"),
        (r"\u0041", r"invalid escape sequence: `\u`"),
        (r"\8", r"invalid escape sequence: `\8`"),
        (r"\1", r"invalid escape sequence: `\1`"),
        (r"\x{110000}", r"invalid escape sequence: `\x{110000}`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        (r"[\b]", r"invalid escape sequence: `\b`"),
        ("a\\", "trailing backslash at end of expression: ``"),
        (r"\p{sc=Greek}", r"invalid character class range: `\p{sc=Greek}`"),
        (r"\p{Uppercase}", r"invalid character class range: `\p{Uppercase}`"),
        ("[[:foo:]]", "invalid character class range: `[:foo:]`"),
        ("[a--b]", "invalid character class range: `a--`"),
        ("[z-a]", "invalid character class range: `z-a`"),
        ("[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
    ] {
        let refused = Pattern::read(pattern).map(|it| it.regex).expect_err(pattern);
        assert_eq!(refused, format!("error parsing regexp: {reason}"));
    }
    let large =
        Pattern::read(r"\pL{1000}\pL{1000}\pL{1000}").map(|it| it.regex).expect_err("it is too large");
    assert!(large.contains("size limit"), "{large}");
}
