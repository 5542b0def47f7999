//! The line editor: prompt, several lines until a semicolon, a history that is kept and that nobody else reads.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Helper};

use super::is_whole;
use crate::cli::Failure;

/// What was typed.
pub(super) enum Input {
    Text(String),
    /// Ctrl-C: the line is forgotten.
    Nothing,
    /// Ctrl-D.
    End,
}

/// An editor that goes to its own thread while somebody types.
pub(super) struct Editor {
    lines: rustyline::Editor<UntilWhole, FileHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    /// An editor with the history of before. That there is no place for a history is no reason not to work.
    pub(super) fn open() -> Result<Self, Failure> {
        let config = Config::builder().history_ignore_space(true).auto_add_history(false).build();
        let mut lines = rustyline::Editor::with_config(config).map_err(terminal)?;
        lines.set_helper(Some(UntilWhole));
        let history = history_file().filter(|path| prepare(path).is_ok());
        if let Some(path) = &history {
            // An unreadable history is an empty one.
            drop(lines.load_history(path));
        }
        Ok(Self { lines, history })
    }

    /// Reads until a statement is whole.
    pub(super) async fn read(mut self) -> Result<(Self, Input), Failure> {
        let reading = tokio::task::spawn_blocking(move || {
            let line = self.lines.readline("larder> ");
            if let Ok(line) = &line {
                self.remember(line);
            }
            (self, line)
        });
        let (editor, line) = reading.await.map_err(|error| Failure::Other(error.into()))?;
        match line {
            Ok(line) => Ok((editor, Input::Text(line))),
            Err(ReadlineError::Interrupted) => Ok((editor, Input::Nothing)),
            Err(ReadlineError::Eof) => Ok((editor, Input::End)),
            Err(error) => Err(terminal(error)),
        }
    }

    /// Adds to the history and its file at once, so that a second shell and a crash lose nothing.
    fn remember(&mut self, line: &str) {
        if matches!(self.lines.add_history_entry(line), Ok(true))
            && let Some(path) = &self.history
        {
            drop(self.lines.append_history(path));
        }
    }
}

fn terminal(error: ReadlineError) -> Failure {
    Failure::io("reading the terminal")(io::Error::other(error))
}

/// `$XDG_STATE_HOME/larder/history`, by default `~/.local/state/larder/history`
/// (<https://specifications.freedesktop.org/basedir-spec/latest/>).
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|it| it.is_absolute());
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("larder/history"))
}

/// Makes the file before anything is in it, readable by its owner alone: SQL has data in it.
fn prepare(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// Goes on to a further line until [`is_whole`]. Nothing is completed, hinted or coloured.
struct UntilWhole;

impl Validator for UntilWhole {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let whole = is_whole(context.input());
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for UntilWhole {
    type Candidate = String;
}

impl Hinter for UntilWhole {
    type Hint = String;
}

impl Highlighter for UntilWhole {}
impl Helper for UntilWhole {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_history_is_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("larder/history");
        prepare(&file).expect("prepared");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&directory.path().join("larder"))), (0o600, 0o700));
        prepare(&file).expect("prepared again");
    }
}
