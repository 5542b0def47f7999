//! What can be done where: a path for each way to a resource, with its verbs and their parameters.

use serde_json::{Map, Value, json};

use super::Dialect;
use super::definitions::{meta_reference, name, of_kind, reference};
use crate::registry::{Resource, Scope, Version};

/// Adds the paths of a resource.
pub(super) fn add(resource: &Resource, version: &Version, dialect: Dialect, paths: &mut Map<String, Value>) {
    let base = format!("/apis/{}/{}", resource.group, version.name);
    let plural = &resource.names.plural;
    let write = Writer { resource, version, dialect };
    let (collection, place) = match resource.scope {
        Scope::Cluster => (format!("{base}/{plural}"), None),
        Scope::Namespaced => {
            let verbs = [write.verb("list", "ForAllNamespaces")];
            paths.insert(format!("{base}/{plural}"), write.path(verbs, []));
            (format!("{base}/namespaces/{{namespace}}/{plural}"), Some("namespace"))
        }
    };
    let all = ["list", "post", "deletecollection"].map(|it| write.verb(it, ""));
    paths.insert(collection.clone(), write.path(all, place));
    let one = ["get", "put", "patch", "delete"].map(|it| write.verb(it, ""));
    paths.insert(format!("{collection}/{{name}}"), write.path(one, place.into_iter().chain(["name"])));
    if version.status {
        let status = ["get", "put", "patch"].map(|it| write.verb(it, "Status"));
        paths.insert(
            format!("{collection}/{{name}}/status"),
            write.path(status, place.into_iter().chain(["name"])),
        );
    }
}

/// What a verb is called in a path, in names of operations, and in words.
fn words(action: &str) -> (&'static str, &'static str, &'static str) {
    match action {
        "list" => ("get", "list", "list objects of kind"),
        "post" => ("post", "create", "create a"),
        "deletecollection" => ("delete", "delete", "delete collection of"),
        "get" => ("get", "read", "read the specified"),
        "put" => ("put", "replace", "replace the specified"),
        "patch" => ("patch", "patch", "partially update the specified"),
        _ => ("delete", "delete", "delete a"),
    }
}

/// The parameters that an action takes in the query: name, type, description.
fn parameters(action: &str) -> Vec<(&'static str, &'static str, &'static str)> {
    let dry_run = ("dryRun", "string", "All: everything is done but to store the result.");
    let manager = ("fieldManager", "string", "Who makes the change: up to 128 printable characters.");
    let validation = (
        "fieldValidation",
        "string",
        "What becomes of fields that are unknown or stand there twice: Ignore, Warn (the default) or Strict.",
    );
    let force = ("force", "boolean", "Whether fields that others own are taken over by an apply patch.");
    let delete = [
        dry_run,
        ("gracePeriodSeconds", "integer", "Ignored: these objects are deleted at once."),
        ("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
        ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
    ];
    let list = [
        ("labelSelector", "string", "Only objects whose labels match."),
        ("fieldSelector", "string", "Only objects whose fields match."),
        ("limit", "integer", "At most this many objects; metadata.continue leads to the next ones."),
        ("continue", "string", "Goes on behind the page that gave this token."),
        ("resourceVersion", "string", "Which revision is meant."),
        ("resourceVersionMatch", "string", "How it is meant: Exact or NotOlderThan."),
        ("timeoutSeconds", "integer", "After how many seconds the answer ends."),
        ("sendInitialEvents", "boolean", "Whether a watch begins with what there is."),
        ("allowWatchBookmarks", "boolean", "Whether a watch is told how far it has come."),
        ("watch", "boolean", "Whether changes are sent as they come."),
    ];
    match action {
        "list" => list.to_vec(),
        "deletecollection" => list[..8].iter().chain(&delete).copied().collect(),
        "post" | "put" => vec![dry_run, manager, validation],
        "patch" => vec![dry_run, manager, validation, force],
        "delete" => delete.to_vec(),
        "get" => {
            vec![("resourceVersion", "string", "The object is shown as it was at this revision or later.")]
        }
        _ => Vec::new(),
    }
}

struct Writer<'a> {
    resource: &'a Resource,
    version: &'a Version,
    dialect: Dialect,
}

impl Writer<'_> {
    /// A path with its verbs, and the parameters that stand in the path itself.
    fn path<'p>(
        &self,
        verbs: impl IntoIterator<Item = (&'static str, Value)>,
        in_path: impl IntoIterator<Item = &'p str>,
    ) -> Value {
        let mut path: Map<String, Value> =
            verbs.into_iter().map(|(verb, value)| (verb.to_owned(), value)).collect();
        let named = |name: &str| {
            let description = match name {
                "namespace" => "object name and auth scope, such as for teams and projects".to_owned(),
                _ => format!("name of the {}", self.resource.names.kind),
            };
            self.parameter(name, "path", "string", &description)
        };
        let mut parameters: Vec<Value> = in_path.into_iter().map(named).collect();
        parameters.push(self.parameter(
            "pretty",
            "query",
            "string",
            "If 'true', then the output is pretty printed.",
        ));
        path.insert("parameters".to_owned(), parameters.into());
        path.into()
    }

    fn parameter(&self, name: &str, place: &str, kind: &str, description: &str) -> Value {
        let mut value = json!({"name": name, "in": place, "description": description});
        match self.dialect {
            Dialect::V2 => {
                value["type"] = kind.into();
                value["uniqueItems"] = true.into();
            }
            Dialect::V3 => value["schema"] = json!({"type": kind, "uniqueItems": true}),
        }
        if place == "path" {
            value["required"] = true.into();
        }
        value
    }

    fn verb(&self, action: &'static str, suffix: &str) -> (&'static str, Value) {
        let (verb, operation, phrase) = words(action);
        let kind = &self.resource.names.kind;
        let scope = match self.resource.scope {
            Scope::Namespaced if suffix != "ForAllNamespaces" => "Namespaced",
            _ => "",
        };
        let collection = if action == "deletecollection" { "Collection" } else { "" };
        let place = format!("{}{}{collection}", pascal(&self.resource.group), pascal(&self.version.name));
        let phrase = match suffix {
            "Status" => phrase.replace("the specified", "status of the specified"),
            // Kubernetes goes by the letter.
            _ if phrase.ends_with(" a") && kind.starts_with(['A', 'E', 'I', 'O', 'U']) => {
                format!("{phrase}n")
            }
            _ => phrase.to_owned(),
        };
        let parameters = parameters(action);
        let mut parameters: Vec<Value> =
            parameters.iter().map(|(name, kind, text)| self.parameter(name, "query", kind, text)).collect();
        let mut value = json!({
            "tags": [format!("{}_{}", camel(&self.resource.group), self.version.name)],
            "description": format!("{phrase} {kind}"),
            "operationId": format!("{operation}{place}{scope}{kind}{suffix}"),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": of_kind(self.resource, self.version, kind)
        });
        self.add_bodies(action, &mut parameters, &mut value);
        value["parameters"] = parameters.into();
        (verb, value)
    }

    /// What is sent and what comes back.
    fn add_bodies(&self, action: &str, parameters: &mut Vec<Value>, value: &mut Value) {
        let dialect = self.dialect;
        let names = &self.resource.names;
        let object = || reference(dialect, &name(self.resource, self.version, &names.kind));
        let list = || reference(dialect, &name(self.resource, self.version, &names.list_kind));
        let (sent, answer) = match action {
            "list" => (None, list()),
            "get" => (None, object()),
            "post" | "put" => (Some(object()), object()),
            "patch" => (Some(meta_reference(dialect, "Patch")), object()),
            _ => (Some(meta_reference(dialect, "DeleteOptions")), meta_reference(dialect, "Status")),
        };
        let types: &[&str] = match action {
            "patch" => &[
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/apply-patch+yaml",
            ],
            _ => &["application/json", "application/yaml"],
        };
        let is_required = !action.starts_with("delete");
        let mut codes = Map::new();
        let said: &[(&str, &str)] = match action {
            "post" => &[("201", "Created"), ("200", "OK"), ("202", "Accepted")],
            "put" | "patch" => &[("200", "OK"), ("201", "Created")],
            _ => &[("200", "OK")],
        };
        match dialect {
            Dialect::V2 => {
                if let Some(schema) = sent {
                    let body = json!({"name": "body", "in": "body", "schema": schema});
                    parameters.insert(0, required(body, is_required));
                    value["consumes"] = json!(types);
                }
                value["produces"] = json!(["application/json"]);
                value["schemes"] = json!(["https"]);
                for (code, text) in said {
                    codes.insert((*code).to_owned(), json!({"description": text, "schema": answer}));
                }
            }
            Dialect::V3 => {
                if let Some(schema) = sent {
                    let content: Map<String, Value> =
                        types.iter().map(|it| ((*it).to_owned(), json!({"schema": schema}))).collect();
                    value["requestBody"] = required(json!({"content": content}), is_required);
                }
                let content = json!({"application/json": {"schema": answer}});
                for (code, text) in said {
                    codes.insert((*code).to_owned(), json!({"description": text, "content": content}));
                }
            }
        }
        codes.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        value["responses"] = codes.into();
    }
}

fn required(mut value: Value, is_required: bool) -> Value {
    if is_required {
        value["required"] = true.into();
    }
    value
}

/// `reports.kyverno.io` as `ReportsKyvernoIo`.
fn pascal(name: &str) -> String {
    let words = name.split(['.', '-']).map(|word| {
        let mut chars = word.chars();
        chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect::<String>()
    });
    words.collect()
}

/// `reports.kyverno.io` as `reportsKyvernoIo`.
fn camel(name: &str) -> String {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    format!("{first}{}", pascal(rest))
}
