//! Makes YAML of JSON, as it passes: for who accepts nothing else, or likes it better.
//!
//! It works on bytes, as [`Pretty`](super::pretty::Pretty) does, so that a list of any length becomes YAML while it is sent; what is kept is one text
//! or number at a time. A text is only written without quotes where no reader, of YAML 1.1 or 1.2, takes it for something else.

/// A key that is longer is announced as one: readers need not look further than 1024 characters for a colon.
const LONGEST_KEY: usize = 1000;

/// Words that are no texts in YAML 1.1.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Where in a text the writer is.
#[derive(Clone, Debug, Default)]
pub(super) struct Yaml {
    stack: Vec<Block>,
    /// The text or number that is coming.
    token: Vec<u8>,
    in_string: bool,
    escaped: bool,
    /// A map (`{`) or a list (`[`) that was opened, of which nothing was seen yet.
    opened: Option<u8>,
    /// What comes next stands behind a key.
    behind_key: bool,
}

/// A map or a list that is being written.
#[derive(Clone, Copy, Debug)]
struct Block {
    is_map: bool,
    indent: usize,
    /// The next line has been begun already, by the dash before it.
    is_begun: bool,
}

impl Yaml {
    /// Appends the YAML of the next piece to `out`.
    pub(super) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if self.in_string {
                self.string_byte(byte, out);
            } else {
                self.byte(byte, out);
            }
        }
    }

    fn string_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.token.push(byte);
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                if !self.is_at_key() {
                    self.scalar(out);
                }
            }
            _ => {}
        }
    }

    /// What has come is a key if its map waits for one.
    fn is_at_key(&self) -> bool {
        !self.behind_key && self.stack.last().is_some_and(|it| it.is_map)
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'}' | b']' => {
                self.number(out);
                self.close(out);
            }
            b',' | b'\n' => self.number(out),
            b':' => self.key(out),
            _ => {
                self.open(out);
                match byte {
                    b'{' | b'[' => self.opened = Some(byte),
                    byte => {
                        self.in_string = byte == b'"';
                        self.token.push(byte);
                    }
                }
            }
        }
    }

    /// Writes what stands before the first entry of what was opened, now that there is one.
    fn open(&mut self, out: &mut Vec<u8>) {
        let Some(bracket) = self.opened.take() else { return };
        let is_map = bracket == b'{';
        let block = match self.stack.last() {
            None => Block { is_map, indent: 0, is_begun: false },
            Some(parent) if self.behind_key => {
                out.push(b'\n');
                let indent = if is_map { parent.indent + 2 } else { parent.indent };
                Block { is_map, indent, is_begun: false }
            }
            Some(parent) => {
                let indent = parent.indent + 2;
                self.begin_item(out);
                Block { is_map, indent, is_begun: true }
            }
        };
        self.behind_key = false;
        self.stack.push(block);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(bracket) = self.opened.take() else {
            self.stack.pop();
            return;
        };
        self.token.extend_from_slice(if bracket == b'{' { b"{}" } else { b"[]" });
        self.scalar(out);
    }

    fn number(&mut self, out: &mut Vec<u8>) {
        if !self.token.is_empty() {
            self.scalar(out);
        }
    }

    /// Writes a text, a number, or something empty, and ends its line.
    fn scalar(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.behind_key) {
            out.push(b' ');
        } else if !self.stack.is_empty() {
            self.begin_item(out);
        }
        push_token(&self.token, out);
        self.token.clear();
        out.push(b'\n');
    }

    fn begin_item(&mut self, out: &mut Vec<u8>) {
        self.begin_line(out);
        out.extend_from_slice(b"- ");
    }

    fn begin_line(&mut self, out: &mut Vec<u8>) {
        let Some(block) = self.stack.last_mut() else { return };
        if !std::mem::take(&mut block.is_begun) {
            out.resize(out.len() + block.indent, b' ');
        }
    }

    fn key(&mut self, out: &mut Vec<u8>) {
        self.begin_line(out);
        let is_long = self.token.len() > LONGEST_KEY;
        if is_long {
            out.extend_from_slice(b"? ");
        }
        push_token(&self.token, out);
        self.token.clear();
        if is_long {
            out.push(b'\n');
            self.begin_line(out);
        }
        out.push(b':');
        self.behind_key = true;
    }
}

fn push_token(token: &[u8], out: &mut Vec<u8>) {
    let inner = token.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
    match inner.map(std::str::from_utf8) {
        Some(Ok(text)) if is_plain(text) => out.extend_from_slice(text.as_bytes()),
        Some(Ok(text)) => {
            out.push(b'"');
            text.chars().for_each(|it| push_quoted(it, out));
            out.push(b'"');
        }
        _ => out.extend_from_slice(token),
    }
}

/// What JSON escapes YAML escapes alike; YAML would read some more characters as ends of lines, or not at all.
fn push_quoted(character: char, out: &mut Vec<u8>) {
    match character {
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Whether a text needs no quotes; there are others that would not.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_fit = |(at, byte): (usize, &u8)| match byte {
        b':' => bytes.get(at + 1).is_some_and(|it| *it != b' '),
        b' ' => at + 1 < bytes.len(),
        byte => byte.is_ascii_alphanumeric() || b"_./-@".contains(byte),
    };
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.iter().enumerate().all(is_fit)
        && !WORDS.iter().any(|it| text.eq_ignore_ascii_case(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn yaml(value: &Value, pieces: usize) -> String {
        let (mut yaml, mut out) = (Yaml::default(), Vec::new());
        let json = format!("{value}\n");
        json.as_bytes().chunks(pieces).for_each(|piece| yaml.write(piece, &mut out));
        String::from_utf8(out).expect("text stays text")
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let value = json!({
            "kind": "List", "empty": {}, "none": [], "no": "no", "n": null, "text": "a: b", "image": "nginx:1.2",
            "items": [{"a": 1, "b": {"c": [true, "x y"]}}, {}, [[1, 2], "-"], "1.5", ""],
        });
        let expected = "empty: {}\nimage: nginx:1.2\nitems:\n- a: 1\n  b:\n    c:\n    - true\n    - x y\n- {}\n- - - 1\n    - 2\n  - \"-\"\n\
            - \"1.5\"\n- \"\"\nkind: List\n\"n\": null\n\"no\": \"no\"\nnone: []\ntext: \"a: b\"\n";
        assert_eq!(yaml(&value, 7), expected);
        assert_eq!(yaml(&json!({}), 1), "{}\n");
    }

    #[test]
    fn long_keys_are_announced() {
        let value = json!({"a": {"k".repeat(2000): {"b": [1]}, "l".repeat(2000): 1}});
        let written = yaml(&value, 100);
        assert!(written.starts_with("a:\n  ? kkk"), "{written}");
        assert_eq!(serde_saphyr::from_str::<Value>(&written).expect("YAML"), value);
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            r#"[a-zA-Z0-9{}\[\],:"'\\ \n\t#&*!|>%@~.\-_/?=<]{0,8}"#,
            any::<String>(),
            "(y|N|on|null|~|1e5|0x1f|0o7|1_0|1:30|2001-01-01|[.]inf)",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|it| Value::Object(it.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn who_reads_it_has_the_json(value in values(), pieces in 1_usize..9) {
            let written = yaml(&value, pieces);
            let read: Value = serde_saphyr::from_str(&written).map_err(|it| TestCaseError::fail(format!("{it}\n{written}")))?;
            prop_assert_eq!(read, value, "{}", written);
        }
    }
}
