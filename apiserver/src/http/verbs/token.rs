//! `continue`: where the next page of a list begins, and at which revision. It is the token of Kubernetes, which clients do not look into.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::http::status::Refusal;
use crate::store::{Key, Revision};

/// The only version there is.
const VERSION: &str = "meta.k8s.io/v1";

#[derive(Deserialize, Serialize)]
struct Token {
    v: String,
    rv: i64,
    /// The last key and a NUL: what comes behind it. Below the namespace, if the list is of one.
    start: String,
}

/// A list that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GoOn {
    /// The revision of the first page; `None` if the list is to go on in the present.
    pub(super) revision: Option<Revision>,
    /// The last key of the page before.
    pub(super) after: Key,
}

impl GoOn {
    /// The token of a list of `namespace`, or, if it is empty, of everything.
    pub(super) fn encode(&self, namespace: &str) -> String {
        let start = if namespace.is_empty() { self.after.to_string() } else { self.after.name.clone() };
        let rv = self.revision.map_or(-1, |it| i64::try_from(it).unwrap_or(i64::MAX));
        let token = Token { v: VERSION.to_owned(), rv, start: format!("{start}\0") };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    /// Reads a token of a list of `namespace`.
    pub(super) fn decode(token: &str, namespace: &str) -> Result<Self, Refusal> {
        let bad = |why: &str| {
            Refusal::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
        };
        let json = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|it| bad(&it.to_string()))?;
        let read: Token = serde_json::from_slice(&json).map_err(|it| bad(&it.to_string()))?;
        if read.v != VERSION {
            return Err(bad(&format!(
                "server does not recognize this encoded version {}",
                crate::field::quote(&read.v)
            )));
        }
        let revision = match read.rv {
            0 => {
                return Err(bad(&format!("incorrect encoded start resourceVersion (version {VERSION})")));
            }
            rv => Revision::try_from(rv).ok(),
        };
        let start = read.start.trim_end_matches('\0');
        if start.is_empty() {
            return Err(bad(&format!("encoded start key empty (version {VERSION})")));
        }
        if start.split('/').any(|it| it.is_empty() || it == "..") {
            return Err(bad(&crate::field::quote(&read.start)));
        }
        let after = match namespace {
            "" => Key::from(start),
            _ => Key { namespace: namespace.to_owned(), name: start.to_owned() },
        };
        Ok(Self { revision, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> Key {
        Key { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn tokens_come_back_as_they_went() {
        for (namespace, key) in [("", key("a", "b")), ("a", key("a", "b")), ("", key("", "b"))] {
            for revision in [Some(7), None] {
                let go_on = GoOn { revision, after: key.clone() };
                assert_eq!(GoOn::decode(&go_on.encode(namespace), namespace), Ok(go_on));
            }
        }
    }

    #[test]
    fn a_token_is_the_one_of_kubernetes() {
        let token = GoOn { revision: Some(7), after: key("a", "b") }.encode("");
        let json = URL_SAFE_NO_PAD.decode(token).expect("base64");
        assert_eq!(json, br#"{"v":"meta.k8s.io/v1","rv":7,"start":"a/b\u0000"}"#);
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let encoded = |json: &str| URL_SAFE_NO_PAD.encode(json);
        for token in [
            "%".to_owned(),
            encoded("x"),
            encoded(r#"{"v":"v2","rv":7,"start":"a\u0000"}"#),
            encoded(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a\u0000"}"#),
            encoded(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"\u0000"}"#),
            encoded(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"../a\u0000"}"#),
            encoded(r#"{"v":"meta.k8s.io/v1","rv":7,"start":"/a\u0000"}"#),
        ] {
            let refused = GoOn::decode(&token, "").map_err(|it| it.code().as_u16());
            assert_eq!(refused, Err(400), "{token}");
        }
    }
}
