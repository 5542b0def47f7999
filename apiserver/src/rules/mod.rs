//! What Kubernetes does to every object that is written, whatever its kind: metadata is filled, checked and protected.
//!
//! All of it is pure: the time, the new uid and the randomness of names come from the caller. What a request answers is made of the errors
//! by whoever serves it.

mod metadata;
pub mod names;

pub use metadata::{check, check_manager, check_shared};
