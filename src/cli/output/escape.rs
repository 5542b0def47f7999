//! Text that came from a database, made safe for a terminal: what would move the cursor, change colours, rename
//! the window or turn the direction of writing is shown as `\u{…}` instead.

use std::borrow::Cow;

/// The text with line breaks and tabs as they are, and everything else that a terminal obeys spelled out.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |it| !matches!(it, '\n' | '\t') && is_unsafe(it))
}

/// As [`text`], of what an encoder has written: CR LF is a line break, and escapes are those of JSON.
pub(crate) fn encoded(text: &str) -> Cow<'_, str> {
    if !text.contains(|it| it != '\n' && it != '\r' && is_unsafe(it)) && !has_lone_return(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        match it {
            '\n' | '\t' => out.push(it),
            '\r' if rest.peek() == Some(&'\n') => out.push(it),
            _ if is_unsafe(it) => {
                let mut units = [0; 2];
                it.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            _ => out.push(it),
        }
    }
    Cow::Owned(out)
}

fn has_lone_return(text: &str) -> bool {
    text.match_indices('\r').any(|(at, _)| text.as_bytes().get(at + 1) != Some(&b'\n'))
}

fn escaped(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for it in text.chars() {
        if is_bad(it) {
            out.extend(it.escape_unicode());
        } else {
            out.push(it);
        }
    }
    Cow::Owned(out)
}

/// Controls (C0, DEL, C1), line and paragraph separators, and the formatting characters that reorder or hide
/// what stands around them (<https://www.unicode.org/reports/tr9/>, tags and invisible operators).
fn is_unsafe(it: char) -> bool {
    it.is_control()
        || matches!(it, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_spelled_out() {
        assert_eq!(text("plain ä 漢字 🦀\n\tnext"), "plain ä 漢字 🦀\n\tnext");
        assert_eq!(text("\u{1b}[2J"), "\\u{1b}[2J");
        assert_eq!(text("a\rb\u{8}\u{7f}\u{9b}31m"), "a\\u{d}b\\u{8}\\u{7f}\\u{9b}31m");
        assert_eq!(text("\u{202e}gpj.exe"), "\\u{202e}gpj.exe");
    }

    #[test]
    fn what_is_encoded_stays_what_it_is() {
        assert_eq!(encoded("a,b\r\n1,2\r\n"), "a,b\r\n1,2\r\n");
        assert_eq!(encoded("x\ry\u{1b}\r\n"), "x\\u000dy\\u001b\r\n");
        let json = encoded("\"\u{9b}31m\u{e0041}\"");
        assert_eq!(json, "\"\\u009b31m\\udb40\\udc41\"");
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), "\u{9b}31m\u{e0041}");
    }
}
