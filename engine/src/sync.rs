//! Locking what is kept whole by each of its changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere leaves these maps whole, so poisoning says nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
