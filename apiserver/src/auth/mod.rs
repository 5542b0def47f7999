//! Who calls, and whether they may.
//!
//! [`Authenticator`] tries, in Kubernetes' order, a front proxy's headers, a client certificate and a bearer token; nobody is
//! anonymous by mistake: a credential that is wrong is refused. [`Authorizer`] asks the cluster ([SubjectAccessReview]) and remembers the
//! answer for ten seconds. Both speak to the kube-apiserver through [`Cluster`]; a server without one trusts a CA of its own.
//!
//! Impersonation is not done here: the kube-apiserver does it before it forwards, and whoever asks this server directly is refused.
//!
//! [SubjectAccessReview]: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/subject-access-review-v1/

mod attributes;
mod authenticate;
mod authorize;
mod cluster;
mod front_proxy;
mod namespaces;
mod peer;
mod retry;
mod settings;
mod tokens;
mod trust;
mod user;

pub use attributes::{Attributes, Place, Verb};
pub use authenticate::{Authenticator, Unauthorized};
pub use authorize::{Authorizer, Decision, Unanswered};
pub use cluster::{Cluster, ClusterError};
pub use front_proxy::FrontProxy;
pub use namespaces::{NamespaceState, Namespaces};
pub use peer::{AnyClient, Peer};
pub use settings::Settings;
pub use tokens::Tokens;
pub use trust::{Bundle, Trust};
pub use user::User;
