//! What a request wants to do, as authorizers see it.

use k8s_openapi::api::authorization::v1::{
    FieldSelectorAttributes, LabelSelectorAttributes, NonResourceAttributes, ResourceAttributes,
    SubjectAccessReviewSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldSelectorRequirement, LabelSelectorRequirement};

use super::user::User;
use crate::store::{Requirement, Test};

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// One object is read.
    Get,
    /// Objects are read.
    List,
    /// Changes are followed.
    Watch,
    /// An object is made.
    Create,
    /// An object is replaced.
    Update,
    /// An object is changed.
    Patch,
    /// An object is deleted.
    Delete,
    /// Objects are deleted.
    DeleteCollection,
}

impl Verb {
    /// As rules write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub const fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::List | Self::Watch)
    }
}

/// Where a request goes, by its path: what is not in the path is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The API group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// The namespace.
    pub namespace: String,
    /// The plural of the resource.
    pub resource: String,
    /// Behind the name: `status`.
    pub subresource: String,
    /// The object's name.
    pub name: String,
}

/// What a request wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attributes {
    /// Something with a resource.
    Resource {
        /// What.
        verb: Verb,
        /// Where. For lists and watches of one name that is the name here.
        place: Place,
        /// To objects with these labels only.
        labels: Vec<Requirement>,
        /// To objects with these fields only: path, whether it has to be equal, value.
        fields: Vec<(String, bool, String)>,
    },
    /// Something with a path that is no resource.
    Path {
        /// The method, in lower case.
        verb: String,
        /// The path.
        path: String,
    },
}

impl Attributes {
    /// What is asked about it in a SubjectAccessReview.
    pub(super) fn review(&self, user: &User) -> SubjectAccessReviewSpec {
        let mut spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: (!user.extra.is_empty()).then(|| user.extra.clone()),
            ..SubjectAccessReviewSpec::default()
        };
        match self {
            Self::Path { verb, path } => {
                spec.non_resource_attributes =
                    Some(NonResourceAttributes { path: Some(path.clone()), verb: Some(verb.clone()) });
            }
            Self::Resource { verb, place, labels, fields } => {
                spec.resource_attributes = Some(resource_attributes(*verb, place, labels, fields));
            }
        }
        spec
    }

    /// How Kubernetes says that this is forbidden.
    #[must_use]
    pub fn forbidden(&self, user: &User) -> String {
        let user = crate::field::quote(&user.name);
        let text = match self {
            Self::Path { verb, path } => {
                format!("User {user} cannot {verb} path {}", crate::field::quote(path))
            }
            Self::Resource { verb, place, .. } => {
                let resource = match place.subresource.as_str() {
                    "" => place.resource.clone(),
                    subresource => format!("{}/{subresource}", place.resource),
                };
                let [resource, group, namespace] =
                    [&resource, &place.group, &place.namespace].map(|it| crate::field::quote(it));
                let r#where = match place.namespace.as_str() {
                    "" => "at the cluster scope".to_owned(),
                    _ => format!("in the namespace {namespace}"),
                };
                let verb = verb.as_str();
                format!("User {user} cannot {verb} resource {resource} in API group {group} {}", r#where)
            }
        };
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }
}

fn resource_attributes(
    verb: Verb,
    place: &Place,
    labels: &[Requirement],
    fields: &[(String, bool, String)],
) -> ResourceAttributes {
    let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let labels: Vec<_> = labels.iter().filter_map(label_requirement).collect();
    let fields: Vec<_> = fields.iter().map(field_requirement).collect();
    ResourceAttributes {
        verb: set(verb.as_str()),
        group: set(&place.group),
        version: set(&place.version),
        namespace: set(&place.namespace),
        resource: set(&place.resource),
        subresource: set(&place.subresource),
        name: set(&place.name),
        label_selector: (!labels.is_empty())
            .then(|| LabelSelectorAttributes { requirements: Some(labels), raw_selector: None }),
        field_selector: (!fields.is_empty())
            .then(|| FieldSelectorAttributes { requirements: Some(fields), raw_selector: None }),
    }
}

/// What a review has no word for (`<`, `>`) is left out: it then asks for more than is needed.
fn label_requirement(requirement: &Requirement) -> Option<LabelSelectorRequirement> {
    let (operator, values) = match &requirement.test {
        Test::In(values) => ("In", Some(values.clone())),
        Test::NotIn(values) => ("NotIn", Some(values.clone())),
        Test::Exists => ("Exists", None),
        Test::Absent => ("DoesNotExist", None),
        Test::Greater(_) | Test::Less(_) => return None,
    };
    Some(LabelSelectorRequirement { key: requirement.key.clone(), operator: operator.to_owned(), values })
}

fn field_requirement((path, equal, value): &(String, bool, String)) -> FieldSelectorRequirement {
    FieldSelectorRequirement {
        key: path.clone(),
        operator: if *equal { "In" } else { "NotIn" }.to_owned(),
        values: Some(vec![value.clone()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(namespace: &str, subresource: &str) -> Place {
        Place {
            group: "example.com".to_owned(),
            version: "v1".to_owned(),
            namespace: namespace.to_owned(),
            resource: "reports".to_owned(),
            subresource: subresource.to_owned(),
            name: "a".to_owned(),
        }
    }

    fn forbidden(place: Place) -> String {
        let attributes =
            Attributes::Resource { verb: Verb::Get, place, labels: Vec::new(), fields: Vec::new() };
        attributes.forbidden(&User { name: "jane".to_owned(), ..User::default() })
    }

    #[test]
    fn refusals_read_as_those_of_kubernetes() {
        assert_eq!(
            forbidden(place("ns", "")),
            r#"User "jane" cannot get resource "reports" in API group "example.com" in the namespace "ns""#
        );
        assert_eq!(
            forbidden(place("", "status")),
            r#"User "jane" cannot get resource "reports/status" in API group "example.com" at the cluster scope"#
        );
        let path = Attributes::Path { verb: "get".to_owned(), path: "/a<b".to_owned() };
        assert_eq!(
            path.forbidden(&User::anonymous()),
            r#"User "system:anonymous" cannot get path "/a&lt;b""#
        );
    }
}
