//! Where a decoder is and how much it has read: what limits and error messages need, and the error itself. It knows no
//! format.

use serde::de::Error;
use std::cell::Cell;

use crate::code;

/// Statements in one request, at most.
pub const MAX_STATEMENTS: usize = 10_000;
/// Values bound in one request, at most.
pub const MAX_VALUES: usize = 1_000_000;

/// Why a body was not understood.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct BodyError {
    /// One of the `BODY_…` and `VALUE_…` codes of [`crate::code`].
    pub code: &'static str,
    /// What is wrong, and what would be right.
    pub message: String,
    /// In which statement, counted from 0, where that is known.
    pub statement: Option<usize>,
    /// At which byte of the (decompressed) body reading stopped. In JSON that is the last byte of what was not understood, or the
    /// first of a number; in MessagePack the first byte of the item that was read last; in both the end of a body that
    /// ends too early.
    pub offset: Option<usize>,
}

/// Messages quote what the caller sent; a body of megabytes is not sent back to him.
const MAX_MESSAGE: usize = 400;

/// Where the decoder is and how much it has read.
#[derive(Debug, Default)]
pub(crate) struct Context {
    statement: Cell<Option<usize>>,
    values: Cell<usize>,
    too_large: Cell<bool>,
    unbounded: bool,
}

impl Context {
    pub(crate) fn unbounded() -> Self {
        Self { unbounded: true, ..Self::default() }
    }

    pub(crate) fn count_value<E: Error>(&self) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES && !self.unbounded {
            self.too_large.set(true);
            return Err(E::custom(format_args!("more than {MAX_VALUES} values in one request")));
        }
        Ok(())
    }

    /// The statement of this index comes next, or the end of all.
    pub(crate) fn enter_statement(&self, index: usize) {
        self.statement.set(Some(index));
    }

    /// A statement was read that is the `count`th.
    pub(crate) fn count_statement<E: Error>(&self, count: usize) -> Result<(), E> {
        if count > MAX_STATEMENTS {
            self.too_large.set(true);
            return Err(E::custom(format_args!("more than {MAX_STATEMENTS} statements in one request")));
        }
        Ok(())
    }

    pub(crate) fn leave_statements(&self) {
        self.statement.set(None);
    }

    /// The error of a decoder that stopped with this message.
    pub(crate) fn error(&self, message: &str, offset: Option<usize>) -> BodyError {
        let code = if self.too_large.get() {
            code::BODY_TOO_LARGE
        } else if is_out_of_range(message) {
            code::VALUE_OUT_OF_RANGE
        } else {
            code::BODY_MALFORMED
        };
        BodyError { code, message: shortened(message), statement: self.statement.get(), offset }
    }
}

/// Serde's errors are sentences. These two begin with nothing that a caller chooses.
fn is_out_of_range(message: &str) -> bool {
    message.starts_with("integer ") || message == "number out of range"
}

fn shortened(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let half = MAX_MESSAGE / 2;
    let head = message.floor_char_boundary(half);
    let tail = message.ceil_char_boundary(message.len() - half);
    format!("{} … {}", &message[..head], &message[tail..])
}
