//! What Go takes for an address (`url.ParseRequestURI`): the format `uri`.

use std::net::Ipv6Addr;

/// Whether it is an absolute address, or an absolute path.
pub(super) fn is_uri(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    if text.bytes().any(|it| it.is_ascii_control()) {
        return false;
    }
    let Some((scheme, rest)) = scheme(text) else { return false };
    let rest = rest.split('?').next().unwrap_or_default();
    if !rest.starts_with('/') {
        return !scheme.is_empty();
    }
    match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        None => escapes(rest).is_some(),
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            is_authority(authority) && escapes(path).is_some()
        }
    }
}

/// The scheme, which may be missing, and what follows it; `None` if there is a colon and nothing before it.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().enumerate().find(|(at, it)| {
        !(it.is_ascii_alphabetic() || *at > 0 && (it.is_ascii_digit() || b"+-.".contains(it)))
    });
    match end {
        Some((0, b':')) => None,
        Some((at, b':')) => Some((&text[..at], &text[at + 1..])),
        _ => Some(("", text)),
    }
}

/// The bytes that are written as `%XX`; `None` if some are written wrongly.
fn escapes(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    parts.next();
    let byte = |it: &str| {
        let digits = it.get(..2).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        digits.and_then(|it| u8::from_str_radix(it, 16).ok())
    };
    parts.map(byte).collect()
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    let is_of_user = |it: u8| it.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&it);
    user.bytes().all(is_of_user) && escapes(user).is_some() && is_host(host)
}

/// A name or an address, with or without a port.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        let Some((inner, port)) = inner.rsplit_once(']') else { return false };
        let (address, zone) = match inner.split_once("%25") {
            Some((address, zone)) => (address, Some(zone)),
            None => (inner, None),
        };
        return is_port(port)
            && address.parse::<Ipv6Addr>().is_ok()
            && zone.is_none_or(|it| escapes(it).is_some());
    }
    let (name, port) = host.split_at(host.rfind(':').unwrap_or(host.len()));
    let is_of_name =
        |it: u8| !it.is_ascii() || it.is_ascii_alphanumeric() || b"!$&'()*+,;=:[]<>\"-_.~%".contains(&it);
    // Only what is no ASCII may be written otherwise, and the percent sign.
    let escaped = escapes(name).is_some_and(|it| it.iter().all(|it| !it.is_ascii() || *it == b'%'));
    is_port(port) && escaped && name.bytes().all(is_of_name)
}

fn is_port(port: &str) -> bool {
    port.is_empty() || port.strip_prefix(':').is_some_and(|it| it.bytes().all(|it| it.is_ascii_digit()))
}
