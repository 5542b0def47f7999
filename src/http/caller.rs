//! Who asks, and what they may.

use larder_wire::{Error, Kind, Role, code};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::tls::{Grants, Identity};

/// The client of a connection. Its certificate was verified by the handshake.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// How logs and `/queries` call it: the names in its certificate.
    pub(crate) name: Arc<str>,
    standing: Standing,
}

#[derive(Clone, Debug)]
enum Standing {
    Granted(Role),
    Unknown,
    Nameless(Arc<str>),
}

impl Caller {
    /// The client with this identity.
    pub(super) fn identified(identity: &Identity, grants: &Grants) -> Self {
        let standing = grants.role(identity).map_or(Standing::Unknown, Standing::Granted);
        Self { name: identity.to_string().into(), standing }
    }

    /// A client whose certificate names nobody.
    pub(super) fn nameless(reason: &str) -> Self {
        Self { name: "(no identity)".into(), standing: Standing::Nameless(reason.into()) }
    }

    /// Whoever reaches the loopback port of `--dev --plain`.
    pub(super) fn developer() -> Self {
        Self { name: "dev".into(), standing: Standing::Granted(Role::Admin) }
    }

    /// The caller's role, if it is at least `needed`.
    pub(super) fn require(&self, needed: Role) -> Result<Role, Error> {
        match &self.standing {
            Standing::Granted(role) if *role >= needed => Ok(*role),
            Standing::Granted(role) => {
                let message = format!("this takes the role {needed}, {} is {role}", self.name);
                Err(Error::new(Kind::Denied, code::ROLE_INSUFFICIENT, message))
            }
            Standing::Unknown => {
                let message = format!("nothing was granted to {}", self.name);
                Err(Error::new(Kind::Denied, code::IDENTITY_NOT_GRANTED, message))
            }
            Standing::Nameless(reason) => {
                let message = format!("the client certificate gives no identity: {reason}");
                Err(Error::new(Kind::Unidentified, code::IDENTITY_MISSING, message))
            }
        }
    }

    /// Whether there is any grant.
    pub(super) fn is_granted(&self) -> bool {
        matches!(self.standing, Standing::Granted(_))
    }
}

/// A bucket of requests for each identity, refilled at a steady rate, one second deep.
#[derive(Debug)]
pub(super) struct RateLimit {
    per_second: f64,
    buckets: Mutex<HashMap<Arc<str>, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    requests: f64,
    filled: Instant,
}

impl RateLimit {
    /// `None` where there is no limit.
    pub(super) fn new(per_second: u32) -> Option<Self> {
        (per_second > 0).then(|| Self { per_second: per_second.into(), buckets: Mutex::default() })
    }

    /// Takes one request from the identity's bucket. Identities are those of verified certificates with a grant, so
    /// there are few.
    pub(super) fn take(&self, identity: &Arc<str>) -> Result<(), Error> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let bucket = buckets
            .entry(Arc::clone(identity))
            .or_insert_with(|| Bucket { requests: self.per_second, filled: now });
        let refilled = now.duration_since(bucket.filled).as_secs_f64() * self.per_second;
        bucket.requests = (bucket.requests + refilled).min(self.per_second.max(1.0));
        bucket.filled = now;
        if bucket.requests < 1.0 {
            let message = format!("more than {} requests a second from {identity}", self.per_second);
            return Err(Error::new(Kind::Busy, code::RATE_LIMITED, message).retryable());
        }
        bucket.requests -= 1.0;
        Ok(())
    }
}
