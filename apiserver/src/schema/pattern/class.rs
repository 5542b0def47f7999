//! Letters, and classes of letters.

use regex::bytes::Regex;

use super::{Reader, Wrong, literal, wrong};

const CLASS_RANGE: &str = "invalid character class range";
const ESCAPE: &str = "invalid escape sequence";

impl Reader<'_> {
    /// `\d`, `\pL`, `\p{Greek}` and the like, behind the backslash.
    pub(super) fn group(&mut self) -> Result<Option<String>, Wrong> {
        const PERL: [(&str, &str); 6] = [
            ("d", "[0-9]"),
            ("D", "[^0-9]"),
            ("s", r"[\t\n\x0C\r ]"),
            ("S", r"[^\t\n\x0C\r ]"),
            ("w", "[0-9A-Za-z_]"),
            ("W", "[^0-9A-Za-z_]"),
        ];
        if let Some((_, class)) = PERL.iter().find(|(name, _)| self.eat(name)) {
            return Ok(Some((*class).to_owned()));
        }
        let place = format!("\\{}", self.rest.as_str());
        let is_not = match self.rest.as_str().chars().next() {
            Some('p') => false,
            Some('P') => true,
            _ => return Ok(None),
        };
        self.rest.next();
        let name = match self.rest.next() {
            Some('{') => match self.rest.as_str().split_once('}') {
                Some((name, rest)) => {
                    self.rest = rest.chars();
                    name.to_owned()
                }
                None => return wrong(CLASS_RANGE, place),
            },
            Some(letter) => letter.to_string(),
            None => return wrong(CLASS_RANGE, place),
        };
        let (name, is_not) = name.strip_prefix('^').map_or((name.as_str(), is_not), |it| (it, !is_not));
        let sign = if is_not { "P" } else { "p" };
        match property(name) {
            Some(property) => Ok(Some(format!("\\{sign}{{{property}}}"))),
            None => wrong(CLASS_RANGE, format!("\\{sign}{{{name}}}")),
        }
    }

    /// The letter that an escape stands for, behind the backslash.
    pub(super) fn escape(&mut self) -> Result<char, Wrong> {
        let place = self.rest.as_str();
        let Some(char) = self.rest.next() else {
            return wrong("trailing backslash at end of expression", "");
        };
        let is_octal = |it: char| it.is_digit(8);
        let letter = match char {
            '0'..='7' if char == '0' || self.rest.as_str().starts_with(is_octal) => {
                let digits: String = place.chars().take(3).take_while(|it| is_octal(*it)).collect();
                self.rest = place[digits.len()..].chars();
                u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32)
            }
            'x' => self.hexadecimal(),
            'a' => Some('\x07'),
            'f' => Some('\x0C'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0B'),
            char if char.is_ascii() && !char.is_ascii_alphanumeric() => Some(char),
            _ => None,
        };
        let read = place.len() - self.rest.as_str().len();
        letter.map_or_else(|| wrong(ESCAPE, format!("\\{}", &place[..read])), Ok)
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let rest = self.rest.as_str();
        let (digits, rest) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => rest.split_at_checked(2)?,
        };
        let are_digits = digits.bytes().all(|it| it.is_ascii_hexdigit());
        self.rest = rest.chars();
        let digits = digits.trim_start_matches('0');
        let number = if digits.is_empty() { Ok(0) } else { u32::from_str_radix(digits, 16) };
        number.ok().filter(|_| are_digits).and_then(char::from_u32)
    }

    /// A class, behind its bracket.
    pub(super) fn class(&mut self) -> Result<String, Wrong> {
        let place = format!("[{}", self.rest.as_str());
        let mut out = String::from("[");
        if self.eat("^") {
            out.push('^');
        }
        let mut is_first = true;
        while is_first || !self.rest.as_str().starts_with(']') {
            is_first = false;
            if let Some(class) = self.named_class()? {
                out.push_str(&class);
            } else if let Some(group) = self.class_group()? {
                out.push_str(&group);
            } else {
                self.range(&place, &mut out)?;
            }
        }
        self.rest.next();
        out.push(']');
        Ok(out)
    }

    /// `[:alpha:]`.
    fn named_class(&mut self) -> Result<Option<String>, Wrong> {
        let rest = self.rest.as_str();
        let Some((name, rest)) = rest.strip_prefix("[:").and_then(|it| it.split_once(":]")) else {
            return Ok(None);
        };
        const KNOWN: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        if !KNOWN.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return wrong(CLASS_RANGE, format!("[:{name}:]"));
        }
        self.rest = rest.chars();
        Ok(Some(format!("[:{name}:]")))
    }

    fn class_group(&mut self) -> Result<Option<String>, Wrong> {
        let before = self.rest.clone();
        if self.eat("\\") {
            if let Some(group) = self.group()? {
                return Ok(Some(group));
            }
            self.rest = before;
        }
        Ok(None)
    }

    /// A letter of a class, or a range from one to another.
    fn range(&mut self, class: &str, out: &mut String) -> Result<(), Wrong> {
        let place = self.rest.as_str();
        let first = self.class_letter(class)?;
        let mut last = first;
        let rest = self.rest.as_str();
        if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
            self.rest.next();
            last = self.class_letter(class)?;
            if last < first {
                let read = place.len() - self.rest.as_str().len();
                return wrong(CLASS_RANGE, &place[..read]);
            }
        }
        out.push_str(&literal(first));
        if last > first {
            out.push('-');
            out.push_str(&literal(last));
        }
        Ok(())
    }

    fn class_letter(&mut self, class: &str) -> Result<char, Wrong> {
        match self.rest.next() {
            None => wrong("missing closing ]", class),
            Some('\\') => self.escape(),
            Some(char) => Ok(char),
        }
    }
}

/// What Unicode calls a general category or a script, as both syntaxes know it; nothing else can be asked for.
fn property(name: &str) -> Option<String> {
    if name.is_empty() || !name.bytes().all(|it| it.is_ascii_alphanumeric() || b"_- ".contains(&it)) {
        return None;
    }
    if ["Any", "Assigned", "ASCII"].contains(&name) {
        return Some(name.to_owned());
    }
    let kinds = ["gc", "sc"].map(|kind| format!("{kind}={name}"));
    kinds.into_iter().find(|it| Regex::new(&format!("\\p{{{it}}}")).is_ok())
}
