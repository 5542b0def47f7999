//! What a path and a method ask for, before anything is known of resources: authorization comes first.
//!
//! As `RequestInfoFactory` of `k8s.io/apiserver`: `/apis/G/V/R…` and `/apis/G/V/namespaces/NS/R…` are resources, everything shorter is not.

use http::Method;

use crate::auth::{Place, Verb};

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A resource; whether there is one of that name is not known yet.
    Resource {
        /// What is done, as far as the method says: [`Verb::List`] may be a watch. `None` for methods that do nothing.
        verb: Option<Verb>,
        /// Where.
        place: Place,
        /// There are more segments than any resource has.
        is_too_deep: bool,
    },
    /// Something else.
    Path(String),
}

impl Target {
    /// Reads a request's line.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let decoded = percent_decoded(path);
        let parts: Vec<&str> = decoded.split('/').filter(|it| !it.is_empty()).collect();
        let ["apis", group, version, rest @ ..] = parts.as_slice() else { return Self::Path(decoded) };
        if rest.is_empty() {
            return Self::Path(decoded);
        }
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let part = |at: usize| rest.get(at).map_or_else(String::new, |it| (*it).to_owned());
        let place = Place {
            group: (*group).to_owned(),
            version: (*version).to_owned(),
            namespace: namespace.to_owned(),
            resource: part(0),
            name: part(1),
            subresource: part(2),
        };
        let verb = verb(method, !place.name.is_empty());
        Self::Resource { verb, place, is_too_deep: rest.len() > 3 }
    }
}

fn verb(method: &Method, is_named: bool) -> Option<Verb> {
    Some(match *method {
        Method::GET | Method::HEAD if is_named => Verb::Get,
        Method::GET | Method::HEAD => Verb::List,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if is_named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => return None,
    })
}

/// A path as Go sees it. What is no UTF-8 can name nothing.
fn percent_decoded(path: &str) -> String {
    if !path.contains('%') {
        return path.to_owned();
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let digits = rest.as_slice_of_two();
        match (byte, digits) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest.nth(1);
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Two hexadecimal digits that lie ahead.
trait Ahead {
    fn as_slice_of_two(&self) -> Option<u8>;
}

impl Ahead for std::str::Bytes<'_> {
    fn as_slice_of_two(&self) -> Option<u8> {
        let mut ahead = self.clone();
        let mut digit = || ahead.next().and_then(|it| char::from(it).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        u8::try_from(high * 16 + low).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(parts: [&str; 6]) -> Place {
        let [group, version, namespace, resource, name, subresource] = parts.map(str::to_owned);
        Place { group, version, namespace, resource, subresource, name }
    }

    #[test]
    fn paths_are_resources_or_not() {
        for (path, parts) in [
            ("/apis/g.com/v1/reports", ["g.com", "v1", "", "reports", "", ""]),
            ("/apis/g.com/v1/reports/", ["g.com", "v1", "", "reports", "", ""]),
            ("/apis/g.com/v1/reports/a", ["g.com", "v1", "", "reports", "a", ""]),
            ("/apis/g.com/v1/namespaces/ns/reports", ["g.com", "v1", "ns", "reports", "", ""]),
            ("/apis/g.com/v1/namespaces/ns/reports/a/status", ["g.com", "v1", "ns", "reports", "a", "status"]),
            ("/apis/g.com/v1/namespaces/ns", ["g.com", "v1", "", "namespaces", "ns", ""]),
            ("/apis/g.com/v1/reports/a%3Ab", ["g.com", "v1", "", "reports", "a:b", ""]),
        ] {
            let expected =
                Target::Resource { verb: Some(verb(&Method::GET, !parts[4].is_empty()).expect("GET")), place: place(parts), is_too_deep: false };
            assert_eq!(Target::of(&Method::GET, path), expected, "{path}");
        }
        for path in ["/", "/apis", "/apis/g.com", "/apis/g.com/v1", "/healthz", "/api/v1/pods"] {
            assert_eq!(Target::of(&Method::GET, path), Target::Path(path.to_owned()), "{path}");
        }
    }

    #[test]
    fn escapes_that_are_none_stay() {
        for (path, decoded) in [("/a%", "/a%"), ("/%zz", "/%zz"), ("/%41%4", "/A%4")] {
            assert_eq!(percent_decoded(path), decoded);
        }
    }
}
