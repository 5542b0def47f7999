//! Indents JSON for people, as it passes: curl and browsers get it without asking, everybody with `?pretty=true`.
//!
//! It works on bytes, so that a list of any length can be indented while it is sent. The input is JSON without spaces between its tokens.

use super::options::Query;
use http::{HeaderMap, header};

/// Whether this client is a person.
pub(super) fn is_wanted(query: &Query, headers: &HeaderMap) -> bool {
    const PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];
    query.flag("pretty").unwrap_or_else(|| {
        let agent = headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or_default();
        PEOPLE.iter().any(|it| agent.starts_with(it))
    })
}

/// Where in a text the indenter is.
#[derive(Clone, Debug, Default)]
pub(super) struct Pretty {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// An object or a list was opened and nothing of it seen.
    just_opened: bool,
}

impl Pretty {
    /// Appends the indented form of the next piece to `out`.
    pub(super) fn indent(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if self.in_string {
                self.string_byte(byte, out);
            } else {
                self.byte(byte, out);
            }
        }
    }

    fn string_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        out.push(byte);
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.in_string = false,
            _ => {}
        }
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        let was_opened = std::mem::take(&mut self.just_opened);
        let closes = matches!(byte, b'}' | b']');
        if was_opened && !closes && byte != b'\n' {
            self.new_line(out);
        }
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.just_opened = true;
                out.push(byte);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !was_opened {
                    self.new_line(out);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                self.new_line(out);
            }
            b':' => out.extend_from_slice(b": "),
            // Go ends an indented text without one.
            b'\n' => {}
            b'"' => {
                self.in_string = true;
                out.push(byte);
            }
            _ => out.push(byte),
        }
    }

    fn new_line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn indented(compact: &[u8], pieces: usize) -> String {
        let (mut pretty, mut out) = (Pretty::default(), Vec::new());
        compact.chunks(pieces).for_each(|piece| pretty.indent(piece, &mut out));
        String::from_utf8(out).expect("text stays text")
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            r#"[a-z{}\[\],:"\\ \n]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,5}", inner, 0..5)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_a_printer_would_have_written(value in json(), pieces in 1_usize..9) {
            let compact = value.to_string();
            let expected = serde_json::to_string_pretty(&value).expect("JSON");
            prop_assert_eq!(indented(compact.as_bytes(), pieces), expected);
        }
    }
}
