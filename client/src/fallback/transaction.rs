//! What every store asks of a transaction before it does anything, so that all of them take and refuse the same.

use std::collections::HashSet;

use super::{KeyValue, Operation, StoreError};

/// Refuses what no store could do: no key or a NUL in it, a key twice, more or larger than the store takes.
pub(super) fn check(store: &(impl KeyValue + ?Sized), operations: &[Operation]) -> Result<(), StoreError> {
    let limits = store.limits();
    let refuse = |reason: String| Err(StoreError::Refused { store: store.name().to_owned(), reason });
    if operations.len() > limits.operations {
        return refuse(format!("{} operations are more than {}", operations.len(), limits.operations));
    }
    let mut keys = HashSet::new();
    for operation in operations {
        let key = operation.key();
        check_key(store, key)?;
        if !keys.insert(key) {
            return refuse(format!("{key:?} stands twice in one transaction"));
        }
        if let Operation::Put { value, .. } = operation
            && value.len() > limits.value
        {
            return refuse(format!("the value of {key:?} has {} bytes of {}", value.len(), limits.value));
        }
    }
    let weight: usize = operations.iter().map(|operation| store.weight(operation)).sum();
    if operations.len() > 1 && weight > limits.transaction {
        return refuse(format!("a transaction of {weight} bytes is larger than {}", limits.transaction));
    }
    Ok(())
}

/// Refuses what is no key.
pub(super) fn check_keys(store: &(impl KeyValue + ?Sized), keys: &[String]) -> Result<(), StoreError> {
    keys.iter().try_for_each(|key| check_key(store, key))
}

fn check_key(store: &(impl KeyValue + ?Sized), key: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.contains('\0') {
        let (store, reason) = (store.name().to_owned(), format!("{key:?} is no key"));
        return Err(StoreError::Refused { store, reason });
    }
    Ok(())
}
