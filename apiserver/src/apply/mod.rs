//! The algebra of changes: patches, and who owns which field. No I/O.
//!
//! Server-side apply is that of Kubernetes (`sigs.k8s.io/structured-merge-diff`), on the structural schemas of CRD documents: [`update`] notes
//! after every other write who set what, [`apply`] merges a configuration and says where it conflicts. Sets of fields ([`FieldSet`]) are
//! read and written as `FieldsV1`. All versions of a resource show the same rows, so an owner that wrote under another version is looked at with
//! that version's schema and no conversion. Not done: adapting old field sets to a schema whose lists became atomic or ceased to be.

mod compare;
mod element;
mod json_patch;
mod managed;
mod manager;
mod merge;
mod owned;
mod patch;
mod remove;
mod set;
mod shape;
#[cfg(test)]
mod tests;

pub use element::{Element, Path};
pub use json_patch::json_patch;
pub use manager::{ApplyError, Conflict, Context, apply, manager_or_agent, update};
pub use patch::{PatchError, merge_patch};
pub use set::FieldSet;
