//! Where things are in a directory, and how a key becomes the name of a file and back.
//!
//! ```text
//! lock                 locked by whoever reads (shared) or writes
//! state                the last transaction: its revision and what it changes
//! new/17-0, 17-1 …     values of transaction 17 that have not come to their places yet
//! keys/scan%2Fdata…    one file a key
//! ```
//!
//! Letters, digits, `-` and `_` stand for themselves in a file's name, everything else is `%XX`. A name that is too long for
//! a file goes on in a folder, whose name ends with `+`.

use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a name; file systems take 255.
const PIECE: usize = 200;
const GOES_ON: &str = "+";

#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(super) fn next_state(&self) -> PathBuf {
        self.root.join("state.new")
    }

    pub(super) fn arriving(&self) -> PathBuf {
        self.root.join("new")
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// The file of a key.
    pub(super) fn file(&self, key: &str) -> PathBuf {
        let name = name(key);
        let mut path = self.keys();
        let mut rest = name.as_str();
        while rest.len() > PIECE {
            let (piece, more) = rest.split_at(PIECE);
            path.push(format!("{piece}{GOES_ON}"));
            rest = more;
        }
        path.push(rest);
        path
    }

    /// Calls `found` with every key, in no order.
    pub(super) fn each_key(&self, found: &mut dyn FnMut(String)) -> io::Result<()> {
        each(&self.keys(), "", found)
    }
}

fn each(folder: &Path, before: &str, found: &mut dyn FnMut(String)) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        // What is not named by us is not ours.
        let Some(name) = name.to_str() else { continue };
        match name.strip_suffix(GOES_ON) {
            Some(piece) => each(&entry.path(), &format!("{before}{piece}"), found)?,
            None => {
                if let Some(key) = key(&format!("{before}{name}")) {
                    found(key);
                }
            }
        }
    }
    Ok(())
}

fn name(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

fn key(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, more) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_safe_name_and_comes_back() {
        let long = "ключ/".repeat(200);
        for text in
            ["a", "scan/data/report/host/k8s:1", "..", ".", "/", "%2F", "a+", "é€", "\u{1}", long.as_str()]
        {
            assert_eq!(key(&name(text)).as_deref(), Some(text));
            let file = Layout::new("/x".into()).file(text);
            assert!(file.starts_with("/x/keys"));
            for piece in file.strip_prefix("/x/keys").expect("is below") {
                let piece = piece.to_str().expect("is text");
                assert!(piece.len() <= 255 && piece != ".." && !piece.starts_with('.'), "{piece}");
            }
        }
    }
}
