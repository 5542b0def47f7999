//! Who sends a request. The order and the outcomes are those of Kubernetes' own servers: the first method that names somebody wins, and if
//! none does and one had something wrong shown to it, the request is refused rather than anonymous.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, header};

use super::peer::Peer;
use super::tokens::Tokens;
use super::trust::{Subject, Trust};
use super::user::User;

/// A request whose sender has shown something wrong. What it was is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthorized(pub String);

/// Finds out who sends a request.
pub struct Authenticator {
    trust: Arc<ArcSwap<Trust>>,
    tokens: Option<Tokens>,
}

impl Authenticator {
    /// With certificates judged by `trust` as it is at the moment, and bearer tokens by the cluster, if there is one.
    #[must_use]
    pub fn new(trust: Arc<ArcSwap<Trust>>, tokens: Option<Tokens>) -> Self {
        Self { trust, tokens }
    }

    /// Who sends a request. What authenticates is removed from its headers.
    ///
    /// # Errors
    /// Something was shown, and nothing of it was good.
    pub async fn authenticate(&self, peer: &Peer, headers: &mut HeaderMap) -> Result<User, Unauthorized> {
        let trust = self.trust.load_full();
        let mut wrong = Vec::new();
        let user = match by_certificate(&trust, peer, headers, &mut wrong) {
            Some(user) => Some(user),
            None => self.by_token(headers, &mut wrong).await,
        };
        headers.remove(header::AUTHORIZATION);
        if let Some(proxy) = &trust.front_proxy {
            proxy.strip(headers);
        }
        match user {
            Some(user) => Ok(user.authenticated()),
            None if wrong.is_empty() => Ok(User::anonymous()),
            None => Err(Unauthorized(wrong.join("; "))),
        }
    }

    async fn by_token(&self, headers: &HeaderMap, wrong: &mut Vec<String>) -> Option<User> {
        let token = bearer_token(headers)?;
        let Some(tokens) = &self.tokens else {
            wrong.push("there is nobody to ask about tokens".to_owned());
            return None;
        };
        tokens.user(&token).await.map_err(|error| wrong.push(error)).ok()
    }
}

fn by_certificate(
    trust: &Arc<Trust>,
    peer: &Peer,
    headers: &HeaderMap,
    wrong: &mut Vec<String>,
) -> Option<User> {
    let found = peer.found(trust)?;
    if let Some(proxy) = &trust.front_proxy {
        let user = found.front_proxy.as_ref().map_err(String::clone);
        match user.and_then(|subject| proxy.user(subject, headers)) {
            Ok(Some(user)) => return Some(user),
            Ok(None) => {}
            Err(error) => wrong.push(format!("front proxy: {error}")),
        }
    }
    match &found.client {
        Ok(subject) if subject.common_name.is_empty() => None,
        Ok(subject) => Some(user_of(subject)),
        Err(error) => {
            wrong.push(format!("client certificate: {error}"));
            None
        }
    }
}

fn user_of(subject: &Subject) -> User {
    let credential = format!("X509SHA256={}", subject.digest);
    User {
        name: subject.common_name.clone(),
        uid: None,
        groups: subject.organizations.clone(),
        extra: [("authentication.kubernetes.io/credential-id".to_owned(), vec![credential])].into(),
    }
}

/// The token of an `Authorization: Bearer` header. Other schemes are not looked at, as in Kubernetes.
fn bearer_token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_are_taken() {
        let token = |value: &'static str| {
            let headers = [(header::AUTHORIZATION, value.parse().expect("a header"))].into_iter().collect();
            bearer_token(&headers)
        };
        assert_eq!(token("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(token("bEARER abc def"), Some("abc".to_owned()));
        for value in ["Basic abc", "Bearer", "Bearer ", "abc", ""] {
            assert_eq!(token(value), None, "{value:?}");
        }
    }
}
