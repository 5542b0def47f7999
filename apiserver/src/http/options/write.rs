//! Options of what writes: dry runs, field managers, and how strictly fields are looked at.

use serde_json::json;

use super::query::Query;
use crate::field::FieldError;
use crate::http::status::Refusal;
use crate::rules::check_manager;

/// What a create, an update or a patch asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    /// Everything is done but keeping it.
    pub(crate) dry_run: bool,
    /// Who owns the fields that are written.
    pub(crate) manager: Option<String>,
    /// What becomes of fields that nobody knows.
    pub(crate) fields: FieldValidation,
    /// An apply takes fields from other managers.
    pub(crate) force: Option<bool>,
}

/// What becomes of fields that are unknown or written twice (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

/// Which write it is: each has an options object of its own in errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Update,
    Patch,
    Apply,
}

impl WriteOptions {
    /// Reads and checks them.
    pub(crate) fn read(query: &Query, write: Write) -> Result<Self, Refusal> {
        let mut errors = Vec::new();
        let force = query.flag("force");
        let manager = query.set("fieldManager");
        if write == Write::Patch && force.is_some() {
            errors.push(FieldError::forbidden("force", "may not be specified for non-apply patch"));
        }
        if write == Write::Apply && manager.is_none() {
            errors.push(FieldError::required("fieldManager", "is required for apply patch"));
        }
        errors.extend(check_manager(manager.unwrap_or_default(), "fieldManager"));
        let dry_run = dry_run(query.all("dryRun").collect(), &mut errors);
        let fields = match query.text("fieldValidation").unwrap_or_default() {
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            other => {
                let supported = ["", "Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", &json!(other), supported));
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            return Err(Refusal::invalid_options(write.options_kind(), &errors));
        }
        Ok(Self { dry_run, manager: manager.map(str::to_owned), fields, force })
    }
}

impl Write {
    const fn options_kind(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Patch | Self::Apply => "PatchOptions",
        }
    }
}

/// Whether it is a dry run, of which there is one kind.
pub(super) fn dry_run(values: Vec<&str>, errors: &mut Vec<FieldError>) -> bool {
    if values.iter().any(|it| *it != "All") {
        errors.push(FieldError::not_supported("dryRun", &json!(values), ["All"]));
    }
    !values.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(query: &str, write: Write) -> u16 {
        let read = WriteOptions::read(&Query::parse(Some(query)), write);
        read.map_or_else(|it| it.code().as_u16(), |_| 200)
    }

    #[test]
    fn options_are_checked() {
        let long = format!("fieldManager={}", "a".repeat(129));
        for (query, write, expected) in [
            ("dryRun=All", Write::Create, 200),
            ("dryRun=Some", Write::Create, 422),
            ("dryRun=", Write::Update, 422),
            ("fieldValidation=Strict", Write::Patch, 200),
            ("fieldValidation=strict", Write::Patch, 422),
            ("force=true", Write::Patch, 422),
            ("force=true", Write::Apply, 422),
            ("force=true&fieldManager=m", Write::Apply, 200),
            ("", Write::Apply, 422),
            (&long, Write::Create, 422),
            ("fieldManager=a%00b", Write::Create, 422),
        ] {
            assert_eq!(code(query, write), expected, "{query} {write:?}");
        }
    }
}
