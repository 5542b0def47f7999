//! What happens here, told to whoever counts it.

use std::time::Duration;

/// Hears what happens. Calls come from many tasks and must not block.
pub trait Telemetry: Send + Sync + 'static {
    /// A request was answered; for a watch, its head was.
    fn answered(&self, request: &Request<'_>, code: u16, took: Duration);
    /// A watch has begun (1) or ended (-1).
    fn watchers(&self, resource: &str, change: i64);
    /// Events were sent to one watcher.
    fn events(&self, resource: &str, count: u64);
    /// From the clock of a write to the sending of its event.
    fn lag(&self, lag: Duration);
    /// An operation on the store has ended.
    fn stored(&self, operation: &'static str, is_good: bool, took: Duration);
    /// An object was refused because of what it looks like.
    fn refused(&self, resource: &str);
    /// Nobody was known by what a request showed; `why` is for the log, which whoever sends many such requests must not fill.
    fn unknown(&self, why: &str);
}

/// What is told of a request: nothing that a caller could make up.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The verb, or the method of a request that is for no resource.
    pub verb: &'a str,
    /// `policyreports.wgpolicyk8s.io`; empty for what is no resource that is served.
    pub resource: &'a str,
    /// `status`, or empty.
    pub subresource: &'a str,
}

/// Nobody counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unheard;

impl Telemetry for Unheard {
    fn answered(&self, _: &Request<'_>, _: u16, _: Duration) {}
    fn watchers(&self, _: &str, _: i64) {}
    fn events(&self, _: &str, _: u64) {}
    fn lag(&self, _: Duration) {}
    fn stored(&self, _: &'static str, _: bool, _: Duration) {}
    fn refused(&self, _: &str) {}
    fn unknown(&self, _: &str) {}
}
