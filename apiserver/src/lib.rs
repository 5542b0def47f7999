//! A Kubernetes aggregated API server for bulky resources.
//!
//! A resource is data: a CRD document says its names, versions, schema and columns ([`registry`]). One generic handler serves all of them
//! ([`http`]); there is no code for any kind. Objects and their history live in a SQL database behind the client crate's `Database`
//! ([`store`]), which gives every write a revision in the order of commits; [`watch`] tells those revisions to whoever listens.
//!
//! From the ground up:
//!
//! - [`object`] is a Kubernetes object as JSON, and what every object has in its metadata.
//! - [`registry`] knows which resources there are.
//! - [`schema`] validates, defaults and prunes objects; [`field`] is what is said of a field that is wrong.
//! - [`rules`] are what Kubernetes does to every object that is written; [`selector`] reads label and field selectors.
//! - [`apply`] is the algebra of changes: patches, field managers, server-side apply. No I/O.
//! - [`store`] keeps objects, [`watch`] follows them.
//! - [`results`] keeps the results of policy reports beside them as rows, and answers questions.
//! - [`present`] is how objects are shown: as they are, as tables, as metadata alone; discovery and OpenAPI documents. No I/O.
//! - [`auth`] says who calls and whether they may.
//! - [`transfer`] moves existing objects out of etcd into the store, and back.
//! - [`http`] is the wire: routes, options, verbs, Status errors.

pub mod apply;
pub mod auth;
pub mod field;
pub mod http;
mod json;
pub mod object;
pub mod present;
pub mod registry;
pub mod results;
pub mod rules;
pub mod schema;
pub mod selector;
pub mod store;
pub mod telemetry;
pub mod transfer;
pub mod watch;
mod yaml;
