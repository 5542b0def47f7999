//! Which representation a caller gets, by its `Accept` header.
//!
//! Clauses are tried by their `q`, then the more specific first, then as they stand. A clause that asks for what is not made here (protobuf, CBOR,
//! a transformation of another group) is skipped, not refused. There is nothing but JSON.

/// The version of `meta.k8s.io` in which a table or metadata is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaVersion {
    /// `meta.k8s.io/v1`.
    V1,
    /// `meta.k8s.io/v1beta1`.
    V1Beta1,
}

impl MetaVersion {
    /// `meta.k8s.io/v1`.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Object,
    /// As a table.
    Table(MetaVersion),
    /// Their metadata alone.
    Metadata(MetaVersion),
}

/// How the server's groups are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `APIGroupList`.
    Plain,
    /// `APIGroupDiscoveryList`, in this version of `apidiscovery.k8s.io`.
    Aggregated(&'static str),
}

/// Nothing of what a caller accepts is made here: a 406 with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAcceptable(String);

impl NotAcceptable {
    fn only_json() -> Self {
        Self("only the following media types are accepted: application/json".to_owned())
    }
}

/// How a caller wants an object (`is_list` false) or a list of objects; a watch is asked for as single objects are.
///
/// # Errors
/// Nothing that it accepts is made here, or metadata was asked for as a list and it is none, or the other way round.
pub fn objects(accept: Option<&str>, is_list: bool) -> Result<Form, NotAcceptable> {
    let form = |clause: &Clause<'_>| match clause.transformation() {
        (None, None, None) => Some(Ok(Form::Object)),
        (Some(kind), Some("meta.k8s.io"), version) => {
            let version = match version? {
                "v1" => MetaVersion::V1,
                "v1beta1" => MetaVersion::V1Beta1,
                _ => return None,
            };
            match (kind, is_list) {
                ("Table", _) => Some(Ok(Form::Table(version))),
                ("PartialObjectMetadata", false) | ("PartialObjectMetadataList", true) => {
                    Some(Ok(Form::Metadata(version)))
                }
                ("PartialObjectMetadata", true) => Some(Err(mismatch(kind, "a list"))),
                ("PartialObjectMetadataList", false) => Some(Err(mismatch(kind, "not a list"))),
                _ => None,
            }
        }
        _ => None,
    };
    negotiate(accept, form).unwrap_or(Err(NotAcceptable::only_json()))
}

fn mismatch(kind: &str, what: &str) -> NotAcceptable {
    NotAcceptable(format!(
        "you requested {kind}, but the requested object is {what} (*unstructured.Unstructured{})",
        if what == "a list" { "List" } else { "" }
    ))
}

/// Whether a caller takes JSON that is not transformed, as Status answers and documents are.
///
/// # Errors
/// It does not.
pub fn plain(accept: Option<&str>) -> Result<(), NotAcceptable> {
    let form = |clause: &Clause<'_>| (clause.transformation() == (None, None, None)).then_some(());
    negotiate(accept, form).ok_or_else(NotAcceptable::only_json)
}

/// How a caller wants the server's groups.
///
/// # Errors
/// Nothing that it accepts is made here.
pub fn discovery(accept: Option<&str>) -> Result<Discovery, NotAcceptable> {
    let form = |clause: &Clause<'_>| match clause.transformation() {
        (None, None, None) => Some(Discovery::Plain),
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), version) => match version {
            Some("v2") => Some(Discovery::Aggregated("v2")),
            Some("v2beta1") => Some(Discovery::Aggregated("v2beta1")),
            _ => None,
        },
        _ => None,
    };
    negotiate(accept, form).ok_or_else(NotAcceptable::only_json)
}

/// The first clause that can be satisfied. Without a header everything can.
fn negotiate<T>(accept: Option<&str>, form: impl Fn(&Clause<'_>) -> Option<T>) -> Option<T> {
    let accept = accept.filter(|it| !it.trim().is_empty()).unwrap_or("*/*");
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
    clauses.sort_by_key(|it| (std::cmp::Reverse(it.quality), it.kind == "*", it.subtype == "*"));
    clauses.iter().filter(|it| it.is_json()).find_map(form)
}

struct Clause<'a> {
    kind: &'a str,
    subtype: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    /// In thousandths.
    quality: u32,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let parameters: Vec<_> = parts
            .filter_map(|it| it.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .collect();
        let quality = parameters.iter().find(|it| it.0 == "q").map_or(1000, |it| thousandths(it.1));
        Some(Self { kind, subtype, parameters, quality })
    }

    fn is_json(&self) -> bool {
        let names_json = self.kind == "application" && matches!(self.subtype, "json" | "*");
        self.quality > 0 && (names_json || (self.kind, self.subtype) == ("*", "*"))
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|it| it.0 == name).map(|it| it.1)
    }

    /// Kind, group and version of what an object is to be transformed to.
    fn transformation(&self) -> (Option<&'a str>, Option<&'a str>, Option<&'a str>) {
        (self.parameter("as"), self.parameter("g"), self.parameter("v"))
    }
}

fn thousandths(quality: &str) -> u32 {
    let quality: f64 = quality.parse().unwrap_or(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 1000")]
    let thousandths = (quality.clamp(0.0, 1.0) * 1000.0) as u32;
    thousandths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KUBECTL: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
    const QUOTA: &str = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

    #[test]
    fn clauses_that_cannot_be_satisfied_are_skipped() {
        for (accept, form) in [
            (None, Form::Object),
            (Some(""), Form::Object),
            (Some("*/*"), Form::Object),
            (Some("application/json, */*"), Form::Object),
            (Some(KUBECTL), Form::Table(MetaVersion::V1)),
            (Some(QUOTA), Form::Metadata(MetaVersion::V1)),
            (Some("application/vnd.kubernetes.protobuf,application/json"), Form::Object),
            (
                Some("application/json;as=Table;g=meta.k8s.io;v=v2,application/cbor,application/json"),
                Form::Object,
            ),
            (Some("application/json;as=Table;g=meta.k8s.io;v=v1beta1"), Form::Table(MetaVersion::V1Beta1)),
            (
                Some("application/json;q=0.5, application/json;as=Table;g=meta.k8s.io;v=v1;q=0.9"),
                Form::Table(MetaVersion::V1),
            ),
            (Some("*/*, application/json;as=Table;g=meta.k8s.io;v=v1"), Form::Table(MetaVersion::V1)),
            (Some("application/json;stream=watch"), Form::Object),
        ] {
            assert_eq!(objects(accept, true), Ok(form), "{accept:?}");
        }
    }

    #[test]
    fn who_accepts_nothing_of_ours_is_told() {
        for accept in
            ["text/html", "application/vnd.kubernetes.protobuf", "application/json;q=0", "application/yaml"]
        {
            let error = objects(Some(accept), true).map_err(|it| it.to_string());
            assert_eq!(
                error,
                Err("only the following media types are accepted: application/json".to_owned()),
                "{accept}"
            );
        }
        let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let error = objects(Some(metadata), true).map_err(|it| it.to_string());
        assert_eq!(
            error,
            Err("you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)"
                .to_owned())
        );
        assert_eq!(objects(Some(metadata), false), Ok(Form::Metadata(MetaVersion::V1)));
        assert!(objects(Some(&metadata.replace("Metadata;", "MetadataList;")), false).is_err());
    }

    #[test]
    fn discovery_is_aggregated_for_who_asks() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let both = format!("{v2},{},application/json", v2.replace("v2", "v2beta1"));
        assert_eq!(discovery(Some(&both)), Ok(Discovery::Aggregated("v2")));
        assert_eq!(discovery(Some(&format!("{v2};profile=nopeer"))), Ok(Discovery::Aggregated("v2")));
        assert_eq!(discovery(Some(&v2.replace("v2", "v2beta1"))), Ok(Discovery::Aggregated("v2beta1")));
        assert_eq!(discovery(Some(&format!("{},*/*", v2.replace("v2", "v3")))), Ok(Discovery::Plain));
        assert_eq!(discovery(None), Ok(Discovery::Plain));
        assert!(plain(Some(v2)).is_err() && plain(Some("*/*")).is_ok());
    }

    proptest! {
        #[test]
        fn no_header_breaks_negotiation(accept in "[a-z*/;,=. q0-9\"]{0,80}") {
            let _ = (objects(Some(&accept), true), discovery(Some(&accept)), plain(Some(&accept)));
        }
    }
}
