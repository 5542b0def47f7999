//! Which names there may be: of objects, labels, annotations, finalizers.
//!
//! Each check returns what is wrong in Kubernetes' words, and nothing where nothing is. The forms are few and simple, so they are looked at
//! byte by byte, in one pass.

const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
    with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
    and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const LABEL_LENGTH: usize = 63;
const SUBDOMAIN_LENGTH: usize = 253;

/// A name as objects have: a DNS subdomain of RFC 1123.
#[must_use]
pub fn subdomain(name: &str) -> Vec<String> {
    let mut wrong = longer_than(SUBDOMAIN_LENGTH, name);
    if !is_subdomain(name) {
        wrong.push(SUBDOMAIN.to_owned());
    }
    wrong
}

/// A name as namespaces have: a DNS label of RFC 1123.
#[must_use]
pub fn label(name: &str) -> Vec<String> {
    let mut wrong = longer_than(LABEL_LENGTH, name);
    if !is_label(name) {
        wrong.push(if is_subdomain(name) { "must not contain dots" } else { LABEL }.to_owned());
    }
    wrong
}

/// The name of a kind: a DNS label of RFC 1035, in any case.
#[must_use]
pub fn kind(kind: &str) -> Vec<String> {
    let label = kind.to_lowercase();
    let mut wrong = longer_than(LABEL_LENGTH, &label);
    if !is_label(&label) || label.starts_with(|it: char| it.is_ascii_digit()) {
        wrong.push(DNS_1035.to_owned());
    }
    wrong
}

/// A name to which something is appended may end in a dash.
#[must_use]
pub fn generated_base(base: &str) -> Vec<String> {
    match base.strip_suffix('-') {
        Some(front) if !front.is_empty() => {
            let front: String = front.chars().take(front.chars().count() - 1).chain(['a']).collect();
            subdomain(&front)
        }
        _ => subdomain(base),
    }
}

/// `[PREFIX/]NAME`, as keys of labels and annotations and finalizers are.
#[must_use]
pub fn qualified(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut parts = name.split('/');
    let name = match (parts.next(), parts.next(), parts.next()) {
        (Some(prefix), Some(name), None) => {
            wrong.extend(prefix_part(prefix));
            name
        }
        (Some(name), None, None) => name,
        _ => {
            let example = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {QUALIFIED} {example}")];
        }
    };
    wrong.extend(name_part(name));
    wrong
}

fn prefix_part(prefix: &str) -> Vec<String> {
    if prefix.is_empty() {
        return vec!["prefix part must be non-empty".to_owned()];
    }
    subdomain(prefix).into_iter().map(|it| format!("prefix part {it}")).collect()
}

fn name_part(name: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else {
        wrong.extend(longer_than(LABEL_LENGTH, name).into_iter().map(|it| format!("name part {it}")));
    }
    if !is_word(name) {
        wrong.push(format!("name part {QUALIFIED}"));
    }
    wrong
}

/// A value of a label.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut wrong = longer_than(LABEL_LENGTH, value);
    if !value.is_empty() && !is_word(value) {
        wrong.push(LABEL_VALUE.to_owned());
    }
    wrong
}

/// What may stand in a path as one segment.
#[must_use]
pub fn path_segment(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    path_prefix(name)
}

/// What a segment of a path may begin with.
#[must_use]
pub fn path_prefix(name: &str) -> Vec<String> {
    ["/", "%"].iter().filter(|it| name.contains(**it)).map(|it| format!("may not contain '{it}'")).collect()
}

fn longer_than(most: usize, name: &str) -> Vec<String> {
    let wrong = (name.len() > most).then(|| format!("must be no more than {most} characters"));
    wrong.into_iter().collect()
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

fn is_label(name: &str) -> bool {
    let small = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit();
    bounded(name, small) && name.bytes().all(|it| small(&it) || it == b'-')
}

fn is_word(name: &str) -> bool {
    bounded(name, u8::is_ascii_alphanumeric)
        && name.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_' | b'.'))
}

fn bounded(name: &str, is_end: impl Fn(&u8) -> bool) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(&is_end) && bytes.last().is_some_and(is_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_are_subdomains() {
        for name in ["a", "a-b.c", "0.1", &"a".repeat(253)] {
            assert!(subdomain(name).is_empty(), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "ä", &"a".repeat(254)] {
            assert_eq!(subdomain(name).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_base_of_names_may_end_in_a_dash() {
        assert!(generated_base("my-").is_empty());
        assert!(!generated_base("My-").is_empty());
        assert!(!generated_base("-").is_empty());
    }

    #[test]
    fn qualified_names_have_at_most_one_prefix() {
        for name in ["a", "A_b.c", "example.com/MyName", &format!("{}/a", "a".repeat(253))] {
            assert!(qualified(name).is_empty(), "{name}");
        }
        assert_eq!(qualified("/a"), ["prefix part must be non-empty"]);
        assert_eq!(qualified("a/").first().map(String::as_str), Some("name part must be non-empty"));
        assert!(qualified("a/b/c")[0].ends_with("(e.g. 'example.com/MyName')"));
        assert_eq!(qualified(&"a".repeat(64)), ["name part must be no more than 63 characters"]);
    }

    #[test]
    fn a_namespace_has_no_dots() {
        assert_eq!(label("a.b"), ["must not contain dots"]);
    }
}
