//! Which representation a caller gets, by its `Accept` header.
//!
//! Clauses are tried by their `q`, then the more specific first, then as they stand. A clause that asks for what is not made here (protobuf, CBOR,
//! a transformation of another group) is skipped, not refused. There is JSON, which comes first, and YAML.

use http::{HeaderMap, header};

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

/// What an answer is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// JSON.
    #[default]
    Json,
    /// YAML.
    Yaml,
}

impl Encoding {
    const ALL: &[Self] = &[Self::Json, Self::Yaml];

    /// Its name.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }

    const fn subtype(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

/// What of a resource is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// An object.
    One,
    /// A list of objects.
    List,
    /// Events, which there is no YAML of.
    Watch,
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
    fn among(encodings: &[Encoding]) -> Self {
        let names: Vec<_> = encodings.iter().map(|it| it.media_type()).collect();
        Self(format!("only the following media types are accepted: {}", names.join(", ")))
    }
}

/// What a caller says that it accepts.
#[must_use]
pub fn header(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ACCEPT).and_then(|it| it.to_str().ok())
}

/// How a caller wants what is shown. Of events metadata is asked for as of single objects.
///
/// # Errors
/// Nothing that it accepts is made here, or metadata was asked for as a list and it is none, or the other way round.
pub fn objects(accept: Option<&str>, what: Shown) -> Result<(Form, Encoding), NotAcceptable> {
    let is_list = what == Shown::List;
    let encodings = if what == Shown::Watch { &[Encoding::Json] } else { Encoding::ALL };
    let form = |clause: &Clause<'_>, _| match clause.transformation() {
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
    match negotiate(accept, encodings, form) {
        Some((form, encoding)) => Ok((form?, encoding)),
        None => Err(NotAcceptable::among(encodings)),
    }
}

fn mismatch(kind: &str, what: &str) -> NotAcceptable {
    NotAcceptable(format!(
        "you requested {kind}, but the requested object is {what} (*unstructured.Unstructured{})",
        if what == "a list" { "List" } else { "" }
    ))
}

/// What a caller wants that is not transformed, as Status answers and documents are.
///
/// # Errors
/// Nothing that it accepts is made here.
pub fn plain(accept: Option<&str>) -> Result<Encoding, NotAcceptable> {
    let found = negotiate(accept, Encoding::ALL, is_plain);
    found.map(|it| it.1).ok_or_else(|| NotAcceptable::among(Encoding::ALL))
}

/// Whether a caller takes JSON that is not transformed.
#[must_use]
pub fn takes_json(accept: Option<&str>) -> bool {
    negotiate(accept, &[Encoding::Json], is_plain).is_some()
}

fn is_plain(clause: &Clause<'_>, _: Encoding) -> Option<()> {
    (clause.transformation() == (None, None, None)).then_some(())
}

/// How a caller wants the server's groups; aggregated they are JSON.
///
/// # Errors
/// Nothing that it accepts is made here.
pub fn discovery(accept: Option<&str>) -> Result<(Discovery, Encoding), NotAcceptable> {
    let form = |clause: &Clause<'_>, encoding| match clause.transformation() {
        (None, None, None) => Some(Discovery::Plain),
        _ if encoding != Encoding::Json => None,
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), version) => match version {
            Some("v2") => Some(Discovery::Aggregated("v2")),
            Some("v2beta1") => Some(Discovery::Aggregated("v2beta1")),
            _ => None,
        },
        _ => None,
    };
    negotiate(accept, Encoding::ALL, form).ok_or_else(|| NotAcceptable::among(Encoding::ALL))
}

/// The first clause that can be satisfied, and the first encoding that it can be in. Without a header everything can.
fn negotiate<T>(
    accept: Option<&str>,
    encodings: &[Encoding],
    form: impl Fn(&Clause<'_>, Encoding) -> Option<T>,
) -> Option<(T, Encoding)> {
    let accept = accept.filter(|it| !it.trim().is_empty()).unwrap_or("*/*");
    let mut clauses: Vec<Clause<'_>> = accept.split(',').filter_map(Clause::parse).collect();
    clauses.sort_by_key(|it| (std::cmp::Reverse(it.quality), it.kind == "*", it.subtype == "*"));
    let tried = clauses.iter().flat_map(|clause| encodings.iter().map(move |it| (clause, *it)));
    tried.filter(|(clause, it)| clause.takes(*it)).find_map(|(clause, it)| Some((form(clause, it)?, it)))
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

    fn takes(&self, encoding: Encoding) -> bool {
        let is_named =
            self.kind == "application" && (self.subtype == "*" || self.subtype == encoding.subtype());
        self.quality > 0 && (is_named || (self.kind, self.subtype) == ("*", "*"))
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
            assert_eq!(objects(accept, Shown::List), Ok((form, Encoding::Json)), "{accept:?}");
        }
    }

    #[test]
    fn who_accepts_nothing_of_ours_is_told() {
        let only = "only the following media types are accepted: application/json";
        for accept in ["text/html", "application/vnd.kubernetes.protobuf", "application/json;q=0"] {
            let error = objects(Some(accept), Shown::List).map_err(|it| it.to_string());
            assert_eq!(error, Err(format!("{only}, application/yaml")), "{accept}");
        }
        let error = objects(Some("application/yaml"), Shown::Watch).map_err(|it| it.to_string());
        assert_eq!(error, Err(only.to_owned()));
        let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        let error = objects(Some(metadata), Shown::List).map_err(|it| it.to_string());
        assert_eq!(
            error,
            Err("you requested PartialObjectMetadata, but the requested object is a list (*unstructured.UnstructuredList)"
                .to_owned())
        );
        let form = Form::Metadata(MetaVersion::V1);
        assert_eq!(objects(Some(metadata), Shown::One), Ok((form, Encoding::Json)));
        assert_eq!(objects(Some(metadata), Shown::Watch), Ok((form, Encoding::Json)));
        assert!(objects(Some(&metadata.replace("Metadata;", "MetadataList;")), Shown::One).is_err());
    }

    #[test]
    fn yaml_is_made_for_who_prefers_it() {
        let table = Form::Table(MetaVersion::V1);
        for (accept, expected) in [
            ("application/yaml", (Form::Object, Encoding::Yaml)),
            ("application/json, application/yaml", (Form::Object, Encoding::Json)),
            ("application/json;q=0.1,application/yaml;q=0.9", (Form::Object, Encoding::Yaml)),
            ("*/*;q=0.5, application/yaml", (Form::Object, Encoding::Yaml)),
            ("application/*", (Form::Object, Encoding::Json)),
            ("application/yaml;as=Table;g=meta.k8s.io;v=v1", (table, Encoding::Yaml)),
        ] {
            assert_eq!(objects(Some(accept), Shown::List), Ok(expected), "{accept}");
        }
        assert_eq!(
            objects(Some("application/yaml, */*;q=0.1"), Shown::Watch),
            Ok((Form::Object, Encoding::Json))
        );
        assert_eq!(plain(Some("application/yaml")), Ok(Encoding::Yaml));
        assert!(!takes_json(Some("application/yaml")) && takes_json(Some("application/yaml, */*;q=0.1")));
    }

    #[test]
    fn discovery_is_aggregated_for_who_asks() {
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let both = format!("{v2},{},application/json", v2.replace("v2", "v2beta1"));
        let form = |accept: Option<&str>| discovery(accept).map(|it| it.0);
        assert_eq!(form(Some(&both)), Ok(Discovery::Aggregated("v2")));
        assert_eq!(form(Some(&format!("{v2};profile=nopeer"))), Ok(Discovery::Aggregated("v2")));
        assert_eq!(form(Some(&v2.replace("v2", "v2beta1"))), Ok(Discovery::Aggregated("v2beta1")));
        assert_eq!(form(Some(&format!("{},*/*", v2.replace("v2", "v3")))), Ok(Discovery::Plain));
        assert_eq!(form(None), Ok(Discovery::Plain));
        assert_eq!(discovery(Some("application/yaml")), Ok((Discovery::Plain, Encoding::Yaml)));
        assert!(plain(Some(v2)).is_err() && plain(Some("*/*")).is_ok());
    }

    proptest! {
        #[test]
        fn no_header_breaks_negotiation(accept in "[a-z*/;,=. q0-9\"]{0,80}") {
            let _ = (objects(Some(&accept), Shown::List), discovery(Some(&accept)), plain(Some(&accept)));
        }
    }
}
