//! Where one SQL statement ends and the next begins: what `sqlite3_complete` decides
//! (<https://sqlite.org/c3ref/complete.html>), with the place. Whether a statement is right is the server's to say.

/// The statements of a script, without their semicolons. What is only space and comments is left out.
pub(crate) fn split(script: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut rest = script;
    while let Some(end) = end_of_statement(rest) {
        statements.push(&rest[..end - 1]);
        rest = &rest[end..];
    }
    statements.push(rest);
    statements.retain(|it| !is_blank(it));
    statements.into_iter().map(str::trim).collect()
}

/// Behind the semicolon that ends the first statement; `None` if it goes on.
pub(crate) fn end_of_statement(text: &str) -> Option<usize> {
    let mut scan = Scan { text, at: 0 };
    let mut head = Head::Start;
    // In the body of a trigger only `; END ;` ends the statement.
    let (mut behind_semicolon, mut behind_end) = (false, false);
    while let Some(token) = scan.next() {
        match token {
            Token::Semicolon if head != Head::Trigger || behind_end => return Some(scan.at),
            Token::Semicolon => (behind_semicolon, behind_end) = (true, false),
            Token::Word(word) => {
                behind_end = behind_semicolon && word.eq_ignore_ascii_case("END");
                behind_semicolon = false;
                head = head.then(word);
            }
            Token::Other => {
                (behind_semicolon, behind_end) = (false, false);
                head = head.then("");
            }
        }
    }
    None
}

/// Whether there is no statement in it.
pub(crate) fn is_blank(text: &str) -> bool {
    Scan { text, at: 0 }.next().is_none()
}

/// What the first words say about the statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    Start,
    Create,
    Trigger,
    Plain,
}

impl Head {
    fn then(self, word: &str) -> Self {
        let is_one_of = |words: &[&str]| words.iter().any(|it| word.eq_ignore_ascii_case(it));
        match self {
            Self::Start if is_one_of(&["EXPLAIN", "QUERY", "PLAN"]) => Self::Start,
            Self::Start if is_one_of(&["CREATE"]) => Self::Create,
            Self::Create if is_one_of(&["TEMP", "TEMPORARY"]) => Self::Create,
            Self::Create if is_one_of(&["TRIGGER"]) => Self::Trigger,
            Self::Start | Self::Create | Self::Plain => Self::Plain,
            Self::Trigger => Self::Trigger,
        }
    }
}

enum Token<'t> {
    Semicolon,
    Word(&'t str),
    Other,
}

struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scan<'t> {
    /// The next token that is neither space nor comment. What is quoted and not closed reaches to the end.
    fn next(&mut self) -> Option<Token<'t>> {
        loop {
            let rest = &self.text[self.at..];
            let first = rest.chars().next()?;
            let length = match first {
                _ if first.is_ascii_whitespace() => 1,
                '-' if rest.starts_with("--") => rest.find('\n').map_or(rest.len(), |it| it + 1),
                '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |it| it + 4),
                _ => return Some(self.token(rest, first)),
            };
            self.at += length;
        }
    }

    fn token(&mut self, rest: &'t str, first: char) -> Token<'t> {
        let is_word = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '$' || !it.is_ascii();
        let to = |close: char| rest[1..].find(close).map_or(rest.len(), |it| it + 2);
        let (length, token) = match first {
            ';' => (1, Token::Semicolon),
            // A doubled quote ends one string and begins the next, which comes to the same.
            '\'' | '"' | '`' => (to(first), Token::Other),
            '[' => (to(']'), Token::Other),
            _ if is_word(first) => {
                let length = rest.find(|it| !is_word(it)).unwrap_or(rest.len());
                (length, Token::Word(&rest[..length]))
            }
            _ => (first.len_utf8(), Token::Other),
        };
        self.at += length;
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts() {
        let trigger = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN\n UPDATE b SET c = CASE WHEN 1 THEN 2 END;\n \
                       DELETE FROM d;\nEND";
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" ;; -- nothing\n/* ; */ ;", &[]),
            ("SELECT 1", &["SELECT 1"]),
            ("SELECT 1; SELECT 2;", &["SELECT 1", "SELECT 2"]),
            ("SELECT ';', \";\", `;`, [;]; SELECT 2", &["SELECT ';', \";\", `;`, [;]", "SELECT 2"]),
            ("SELECT 'it''s; so'; SELECT 2", &["SELECT 'it''s; so'", "SELECT 2"]),
            ("SELECT 1 -- a; b\n; SELECT /* ; */ 2", &["SELECT 1 -- a; b", "SELECT /* ; */ 2"]),
            ("SELECT 'open; SELECT 2;", &["SELECT 'open; SELECT 2;"]),
            ("SELECT 'ä;ö'; SELECT 'ü'", &["SELECT 'ä;ö'", "SELECT 'ü'"]),
            ("CREATE TABLE trigger_x (a); SELECT 1", &["CREATE TABLE trigger_x (a)", "SELECT 1"]),
            ("SELECT 5-2; SELECT 4/2;", &["SELECT 5-2", "SELECT 4/2"]),
        ];
        for (script, statements) in cases {
            assert_eq!(split(script), *statements, "{script:?}");
        }
        assert_eq!(split(&format!("{trigger};\nSELECT 1;")), [trigger, "SELECT 1"]);
        let explained = format!("EXPLAIN QUERY PLAN {trigger}");
        assert_eq!(split(&format!("{explained};")), [explained.as_str()]);
    }

    #[test]
    fn a_statement_is_complete_at_its_semicolon() {
        assert_eq!(end_of_statement("SELECT 1; "), Some(9));
        assert_eq!(end_of_statement("SELECT 1"), None);
        assert_eq!(end_of_statement("SELECT 1 -- ;"), None);
        assert_eq!(end_of_statement("SELECT 1 /* ;"), None);
        assert_eq!(end_of_statement("SELECT ';"), None);
        assert_eq!(end_of_statement("CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b;"), None);
    }
}
