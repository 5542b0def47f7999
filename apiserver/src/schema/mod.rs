//! What objects have to look like: structural schemas as CRD documents carry them.

/// A structural schema.
#[derive(Clone, Debug, Default)]
pub struct Schema {}
