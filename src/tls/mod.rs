//! Everything about TLS on the server's side: the configuration from PEM files, following them while
//! running, who a client is and what was granted to it, and the making of certificates.
//!
//! Nothing here listens, accepts or speaks HTTP. The crypto provider is passed explicitly, so no process
//! default is installed or needed. Revocation lists are not read: a client is shut out by taking its grant
//! away, or by rotating the CA.

mod certificate;
mod contents;
mod convincing;
mod error;
mod grants;
mod identity;
mod issue;
mod material;
mod reload;

#[cfg(test)]
mod handshake_tests;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

pub(crate) use certificate::Certificate;
pub(crate) use contents::{Clients, TlsFiles};
pub(crate) use grants::{Grant, Grants};
pub(crate) use identity::Identity;
#[cfg(test)]
pub(crate) use issue::Issued;
pub(crate) use issue::{AUTHORITY_DAYS, Authority, LEAF_DAYS, Leaf, Term};
pub(crate) use reload::{Tls, TlsSnapshot};

/// The one crypto provider of this process: immutable, made on first use.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}
