//! Whether a user may do something: the cluster is asked (SubjectAccessReview), and its answer remembered for ten seconds.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::attributes::Attributes;
use super::retry::ask;
use super::user::User;

const REMEMBERED: Duration = Duration::from_secs(10);
const CAPACITY: u64 = 8192;
/// What is asked at greater length is asked each time.
const LONGEST_REMEMBERED: usize = 10_000;
/// What probes may ask without rights, whoever they are.
const OPEN_PATHS: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the user may.
    pub allowed: bool,
    /// What the cluster said to it; may be empty.
    pub reason: String,
}

/// Nobody could be asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unanswered(pub String);

/// Decides who may do what.
pub struct Authorizer {
    reviews: Option<Reviews>,
}

struct Reviews {
    api: Api<SubjectAccessReview>,
    known: Cache<String, Decision>,
}

impl Authorizer {
    /// Asks the cluster of this client.
    #[must_use]
    pub fn cluster(client: kube::Client) -> Self {
        let known = Cache::builder()
            .max_capacity(CAPACITY)
            .time_to_live(REMEMBERED)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { reviews: Some(Reviews { api: Api::all(client), known }) }
    }

    /// Lets everybody do everything who has shown who they are.
    #[must_use]
    pub fn authenticated() -> Self {
        Self { reviews: None }
    }

    /// Whether `user` may do this.
    ///
    /// # Errors
    /// The cluster has not answered.
    pub async fn authorize(&self, user: &User, attributes: &Attributes) -> Result<Decision, Unanswered> {
        let is_open =
            matches!(attributes, Attributes::Path { path, .. } if OPEN_PATHS.contains(&path.as_str()));
        if is_open || user.is_master() {
            return Ok(Decision { allowed: true, reason: String::new() });
        }
        match &self.reviews {
            Some(reviews) => reviews.decide(attributes.review(user)).await,
            None => Ok(Decision { allowed: user.is_authenticated(), reason: String::new() }),
        }
    }
}

impl Reviews {
    async fn decide(&self, spec: SubjectAccessReviewSpec) -> Result<Decision, Unanswered> {
        let key = serde_json::to_string(&spec).map_err(|error| Unanswered(error.to_string()))?;
        if key.len() > LONGEST_REMEMBERED {
            return self.review(spec).await;
        }
        let decision = self.known.try_get_with(key, self.review(spec)).await;
        decision.map_err(|error: Arc<Unanswered>| (*error).clone())
    }

    async fn review(&self, spec: SubjectAccessReviewSpec) -> Result<Decision, Unanswered> {
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let params = PostParams::default();
        let answer = ask(|| self.api.create(&params, &review)).await;
        let answer = answer.map_err(|error| Unanswered(error.to_string()))?;
        let status = answer.status.ok_or_else(|| Unanswered("the review has no status".to_owned()))?;
        let allowed = status.allowed && status.denied != Some(true);
        Ok(Decision { allowed, reason: status.reason.unwrap_or_default() })
    }
}
