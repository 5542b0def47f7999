//! What a document has to be like, beyond its schemas: what a cluster would refuse is refused here too, in one sentence.

use super::{Document, Invalid, SelectableField, Spec, SpecNames, SpecVersion};
use crate::registry::{DocumentError, FieldPath};
use crate::rules::names;
use crate::schema::{Kind, Node, Schema};

/// Fields that may be selected by.
const SELECTABLE: usize = 8;
/// The longest warning of a deprecated version.
const WARNING: usize = 256;
/// Without this annotation nobody makes resources in the groups of Kubernetes itself.
const APPROVED: &str = "api-approved.kubernetes.io";

impl Document {
    pub(super) fn check(&self, id: &str, invalid: Invalid<'_>) -> Result<(), DocumentError> {
        let Self { metadata, spec } = self;
        if spec.conversion.as_ref().is_some_and(|it| it.strategy != "None") {
            return Err(DocumentError::Conversion(id.to_owned()));
        }
        if metadata.name != id {
            let reason = format!("{:?} has to be spec.names.plural+\".\"+spec.group", metadata.name);
            return Err(invalid("metadata.name", reason));
        }
        let is_protected = ["k8s.io", "kubernetes.io"]
            .iter()
            .any(|it| spec.group.strip_suffix(it).is_some_and(|it| it.is_empty() || it.ends_with('.')));
        if is_protected && !metadata.annotations.contains_key(APPROVED) {
            let reason = format!("is required in groups of *.k8s.io and *.kubernetes.io, as {}", spec.group);
            return Err(invalid(&format!("metadata.annotations[{APPROVED}]"), reason));
        }
        spec.check(invalid)
    }
}

impl Spec {
    fn check(&self, invalid: Invalid<'_>) -> Result<(), DocumentError> {
        if self.preserve_unknown_fields {
            let reason =
                "has to be false; a schema says x-kubernetes-preserve-unknown-fields where it is meant";
            return Err(invalid("spec.preserveUnknownFields", reason.to_owned()));
        }
        if let Some(wrong) = names::subdomain(&self.group).into_iter().next().or_else(|| {
            (!self.group.contains('.')).then(|| "should be a domain with at least one dot".to_owned())
        }) {
            return Err(invalid("spec.group", wrong));
        }
        self.names.check(invalid)?;
        self.versions.iter().try_for_each(|it| it.check(invalid))?;
        let mut seen = std::collections::BTreeSet::new();
        if let Some(twice) = self.versions.iter().find(|it| !seen.insert(&it.name)) {
            return Err(invalid("spec.versions", format!("{} stands there twice", twice.name)));
        }
        match self.versions.iter().filter(|it| it.storage).count() {
            1 => Ok(()),
            count => {
                let reason = format!("exactly one has to have storage: true, and {count} have");
                Err(invalid("spec.versions", reason))
            }
        }
    }
}

impl SpecNames {
    fn check(&self, invalid: Invalid<'_>) -> Result<(), DocumentError> {
        let labels = [&self.plural].into_iter().chain(&self.short_names).chain(&self.categories);
        for label in labels.chain([&self.singular].into_iter().filter(|it| !it.is_empty())) {
            if let Some(wrong) = names::kind(label).into_iter().next().filter(|_| !label.is_empty()) {
                return Err(invalid(&format!("spec.names: {label:?}"), wrong));
            }
        }
        for (field, kind) in [("kind", &self.kind), ("listKind", &self.list_kind)] {
            let may_lack = field == "listKind" && kind.is_empty();
            if !may_lack && !names::kind(kind).is_empty() {
                let reason = "has to be a word of letters and digits that begins with a letter";
                return Err(invalid(&format!("spec.names.{field}"), reason.to_owned()));
            }
        }
        if self.kind == self.list_kind {
            return Err(invalid("spec.names.listKind", "may not be the same as kind".to_owned()));
        }
        Ok(())
    }
}

impl SpecVersion {
    fn check(&self, invalid: Invalid<'_>) -> Result<(), DocumentError> {
        if let Some(wrong) = names::kind(&self.name).into_iter().next() {
            return Err(invalid(&format!("spec.versions: {:?}", self.name), wrong));
        }
        let wrong = match self.deprecation_warning.as_deref() {
            Some(_) if !self.deprecated => "is for versions that are deprecated",
            Some("") => "may not be empty",
            Some(text) if text.len() > WARNING => "may have 256 characters at most",
            _ => return Ok(()),
        };
        Err(invalid(&format!("version {}: deprecationWarning", self.name), wrong.to_owned()))
    }
}

/// The fields that may be selected by: texts, numbers and flags that the schema knows.
pub(super) fn selectable(
    fields: &[SelectableField],
    schema: &Schema,
    invalid: Invalid<'_>,
) -> Result<Vec<FieldPath>, DocumentError> {
    let mut paths = Vec::new();
    for SelectableField { json_path } in fields {
        let wrong = |what: &str| invalid("selectableFields", format!("{json_path:?} {what}"));
        let path = json_path.strip_prefix('.').unwrap_or_default();
        let steps: FieldPath = path.split('.').map(str::to_owned).collect();
        let is_name = |it: &String| {
            !it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_' || it == b'-')
        };
        if !steps.iter().all(is_name) || steps[0] == "metadata" {
            return Err(wrong("has to name a field outside the metadata, as in .spec.owner"));
        }
        let found = steps.iter().try_fold(schema.root(), |node: &Node, step| node.properties.get(step));
        if !found.is_some_and(|it| matches!(it.kind, Some(Kind::String | Kind::Boolean | Kind::Integer))) {
            return Err(wrong("has to name a field of type string, boolean or integer of the schema"));
        }
        if paths.contains(&steps) {
            return Err(wrong("stands there twice"));
        }
        paths.push(steps);
    }
    if paths.len() > SELECTABLE {
        return Err(invalid(
            "selectableFields",
            format!("{SELECTABLE} at most, and there are {}", paths.len()),
        ));
    }
    Ok(paths)
}
