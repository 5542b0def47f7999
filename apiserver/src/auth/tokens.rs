//! Bearer tokens, which the cluster knows: a TokenReview for each, remembered for ten seconds, good or bad.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use kube::Api;
use kube::api::PostParams;
use moka::future::Cache;
use sha2::{Digest, Sha256};

use super::retry::ask;
use super::user::User;

const REMEMBERED: Duration = Duration::from_secs(10);
const CAPACITY: u64 = 8192;
/// Longer than any token; who sends such a thing is not worth a question.
const LONGEST: usize = 64 << 10;

/// Asks the cluster about tokens.
pub struct Tokens {
    reviews: Api<TokenReview>,
    /// By a digest: tokens are not kept in memory.
    known: Cache<[u8; 32], Option<User>>,
}

impl Tokens {
    /// Asks the cluster of this client.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        let known = Cache::builder().max_capacity(CAPACITY).time_to_live(REMEMBERED).build();
        Self { reviews: Api::all(client), known }
    }

    /// Whose token this is; the error says why it is nobody's.
    pub(super) async fn user(&self, token: &str) -> Result<User, String> {
        if token.len() > LONGEST {
            return Err("the token is too long".to_owned());
        }
        let digest = Sha256::digest(token).into();
        let user = self.known.try_get_with(digest, self.review(token)).await;
        let user = user.map_err(|error: std::sync::Arc<String>| error.to_string())?;
        user.ok_or_else(|| "the token is not good".to_owned())
    }

    async fn review(&self, token: &str) -> Result<Option<User>, String> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let params = PostParams::default();
        let answer = ask(|| self.reviews.create(&params, &review)).await;
        let status = answer.map_err(|error| format!("token review: {error}"))?.status.unwrap_or_default();
        if let Some(error) = status.error.filter(|it| !it.is_empty()) {
            tracing::debug!(error, "a token review failed");
        }
        let is_good = status.authenticated == Some(true);
        Ok(status.user.filter(|_| is_good).map(user_of))
    }
}

fn user_of(info: UserInfo) -> User {
    User {
        name: info.username.unwrap_or_default(),
        uid: info.uid.filter(|it| !it.is_empty()),
        groups: info.groups.unwrap_or_default(),
        extra: info.extra.unwrap_or_default(),
    }
}
