//! What happened in a schedule, for whoever repeats one that failed.

use std::cell::RefCell;

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Begins to take notes.
pub(crate) fn begin() {
    LINES.with(|it| *it.borrow_mut() = Some(Vec::new()));
}

/// Takes a note, if notes are taken.
pub(crate) fn note(line: impl FnOnce() -> String) {
    LINES.with(|it| {
        if let Some(lines) = it.borrow_mut().as_mut() {
            lines.push(line());
        }
    });
}

/// All notes.
pub(crate) fn text() -> String {
    LINES.with(|it| it.borrow_mut().take().unwrap_or_default().join("\n"))
}
