//! The front proxy: the kube-apiserver, which says in headers on whose behalf it asks. It is believed only with its own certificate.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::trust::{Bundle, Subject};
use super::user::User;

/// Who is a front proxy, and in which headers it names users.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// The CAs that sign front proxies.
    pub authorities: Bundle,
    /// The common names that are front proxies'; any if there are none.
    pub allowed_names: Vec<String>,
    /// Headers of the user's name; the first that is there counts.
    pub user_headers: Vec<HeaderName>,
    /// Headers of the user's uid. Without any, no uid is taken.
    pub uid_headers: Vec<HeaderName>,
    /// Headers of groups; all values of all of them count.
    pub group_headers: Vec<HeaderName>,
    /// What headers of extra values begin with, in lower case.
    pub extra_prefixes: Vec<String>,
}

impl FrontProxy {
    /// The user on whose behalf this front proxy asks; `None` if it names nobody.
    pub(super) fn user(&self, proxy: &Subject, headers: &HeaderMap) -> Result<Option<User>, String> {
        let is_allowed = |name: &String| *name == proxy.common_name;
        if !self.allowed_names.is_empty() && !self.allowed_names.iter().any(is_allowed) {
            return Err(format!("{:?} is not among the names of front proxies", proxy.common_name));
        }
        let Some(name) = first(headers, &self.user_headers)? else { return Ok(None) };
        let groups = self.group_headers.iter().flat_map(|it| headers.get_all(it)).map(text);
        Ok(Some(User {
            name,
            uid: first(headers, &self.uid_headers)?,
            groups: groups.collect::<Result<_, _>>()?,
            extra: self.extra(headers)?,
        }))
    }

    fn extra(&self, headers: &HeaderMap) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut extra = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in headers {
            let Some(key) = self.extra_prefixes.iter().find_map(|it| name.as_str().strip_prefix(it.as_str()))
            else {
                continue;
            };
            extra.entry(percent_decoded(key)).or_default().push(text(value)?);
        }
        Ok(extra)
    }

    /// Removes every header that speaks of users, whether it was believed or not.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        for name in self.user_headers.iter().chain(&self.uid_headers).chain(&self.group_headers) {
            headers.remove(name);
        }
        let is_extra = |name: &&HeaderName| self.extra_prefixes.iter().any(|it| name.as_str().starts_with(it));
        for name in headers.keys().filter(is_extra).cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
    }
}

fn first(headers: &HeaderMap, names: &[HeaderName]) -> Result<Option<String>, String> {
    let mut values = names.iter().filter_map(|it| headers.get(it)).filter(|it| !it.is_empty());
    values.next().map(text).transpose()
}

/// A name that is read wrongly is somebody else's.
fn text(value: &HeaderValue) -> Result<String, String> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| "a header of the front proxy is not UTF-8".to_owned())
}

/// Undoes percent encoding; a text that is encoded wrongly is taken as it is, as Go does.
fn percent_decoded(key: &str) -> String {
    let mut bytes = Vec::with_capacity(key.len());
    let mut rest = key.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let Some((digits, tail)) = rest.split_at_checked(2) else { return key.to_owned() };
        let digits = std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(decoded) = digits.and_then(|it| u8::from_str_radix(it, 16).ok()) else {
            return key.to_owned();
        };
        bytes.push(decoded);
        rest = tail;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::percent_decoded;

    #[test]
    fn keys_of_extra_headers_are_decoded_or_taken_as_they_are() {
        for (encoded, key) in [
            ("example.com%2ftier", "example.com/tier"),
            ("plain", "plain"),
            ("%", "%"),
            ("a%2", "a%2"),
            ("a%zz", "a%zz"),
            ("a%+1", "a%+1"),
            ("%ff", "%ff"),
            ("%e2%82%ac", "€"),
        ] {
            assert_eq!(percent_decoded(encoded), key, "{encoded}");
        }
    }
}
