//! Formats of texts: those that Kubernetes checks in custom resources. Others say something to people and are not checked, there as here.
//!
//! A mail address is looked at more roughly than Go does: what is refused here is refused there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use super::uri::is_uri;
use crate::rules::names;

/// A format that is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// As the document writes it: `date-time`.
    pub name: String,
    check: Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    BsonObjectId,
    Uri,
    Email,
    Hostname,
    Ipv4,
    Ipv6,
    Cidr,
    Mac,
    /// The digit of the version, if one is asked for.
    Uuid(Option<u8>),
    Isbn,
    Isbn10,
    Isbn13,
    CreditCard,
    Ssn,
    HexColor,
    RgbColor,
    Base64,
    Password,
    Date,
    Duration,
    DateTime,
    ShortName,
    LongName,
}

impl Format {
    /// The format of that name, if it is one that is checked. Dashes do not count.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let check = match name.replace('-', "").as_str() {
            "bsonobjectid" => Check::BsonObjectId,
            "uri" => Check::Uri,
            "email" => Check::Email,
            "hostname" => Check::Hostname,
            "ipv4" => Check::Ipv4,
            "ipv6" => Check::Ipv6,
            "cidr" => Check::Cidr,
            "mac" => Check::Mac,
            "uuid" => Check::Uuid(None),
            "uuid3" => Check::Uuid(Some(b'3')),
            "uuid4" => Check::Uuid(Some(b'4')),
            "uuid5" => Check::Uuid(Some(b'5')),
            "isbn" => Check::Isbn,
            "isbn10" => Check::Isbn10,
            "isbn13" => Check::Isbn13,
            "creditcard" => Check::CreditCard,
            "ssn" => Check::Ssn,
            "hexcolor" => Check::HexColor,
            "rgbcolor" => Check::RgbColor,
            "byte" => Check::Base64,
            "password" => Check::Password,
            "date" => Check::Date,
            "duration" => Check::Duration,
            "datetime" => Check::DateTime,
            "k8sshortname" => Check::ShortName,
            "k8slongname" => Check::LongName,
            _ => return None,
        };
        Some(Self { name: name.to_owned(), check })
    }

    /// Whether a text is of this format.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self.check {
            Check::BsonObjectId => text.len() == 24 && is_hex(text),
            Check::Uri => is_uri(text),
            Check::Email => is_email(text),
            Check::Hostname => is_hostname(text),
            Check::Ipv4 => text.contains('.') && address(text).is_some(),
            Check::Ipv6 => text.contains(':') && address(text).is_some(),
            Check::Cidr => is_cidr(text),
            Check::Mac => is_mac(text),
            Check::Uuid(version) => is_uuid(text, version),
            Check::Isbn => is_isbn10(text) || is_isbn13(text),
            Check::Isbn10 => is_isbn10(text),
            Check::Isbn13 => is_isbn13(text),
            Check::CreditCard => is_credit_card(text),
            Check::Ssn => SSN.is_match(text),
            Check::HexColor => is_hex_color(text),
            Check::RgbColor => RGB.is_match(text),
            Check::Base64 => is_base64(text),
            Check::Password => true,
            Check::Date => is_date(text),
            Check::Duration => is_duration(text),
            Check::DateTime => is_date_time(text),
            Check::ShortName => names::label(text).is_empty(),
            Check::LongName => names::subdomain(text).is_empty(),
        }
    }
}

fn fixed(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is written here")
}

static HOSTNAME: LazyLock<Regex> = LazyLock::new(|| {
    let c = r"[a-zA-Z0-9\p{S}\p{L}]";
    let inner = r"[a-zA-Z0-9\-\p{S}\p{L}]";
    fixed(&format!(
        r"^({c}((-?{c}{{0,62}})?)|({c}(({inner}{{0,61}}{c})?)(\.)){{1,}}([a-zA-Z\p{{L}}]){{2,63}})$"
    ))
});
static SSN: LazyLock<Regex> = LazyLock::new(|| fixed(r"^[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}$"));
static RGB: LazyLock<Regex> = LazyLock::new(|| {
    let byte = r"(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    fixed(&format!(r"^rgb\(\s*{byte}\s*,\s*{byte}\s*,\s*{byte}\s*\)$"))
});
static CARD: LazyLock<Regex> = LazyLock::new(|| {
    fixed(concat!(
        r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|(222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}",
        r"|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}",
        r"|(?:2131|1800|35[0-9]{3})[0-9]{11}|6[27][0-9]{14})$"
    ))
});
static TIME: LazyLock<Regex> =
    LazyLock::new(|| fixed(r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$"));
static DURATION: LazyLock<Regex> = LazyLock::new(|| fixed(r"([0-9]+)\s*([A-Za-zµ]+)"));

fn is_hex(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_hexdigit())
}

fn is_email(text: &str) -> bool {
    let text = text.trim();
    let address = match text.strip_suffix('>').and_then(|it| it.rsplit_once('<')) {
        Some((_, address)) => address,
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let is_quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"');
    let atoms = |it: &str| {
        it.split('.').all(|atom| {
            !atom.is_empty()
                && !atom.contains(|c: char| c.is_ascii_control() || "()<>[]:;@\\,\" ".contains(c))
        })
    };
    (is_quoted || atoms(local)) && (atoms(domain) || (domain.starts_with('[') && domain.ends_with(']')))
}

fn is_hostname(text: &str) -> bool {
    text.len() <= 255 && text.split('.').all(|it| it.len() <= 63) && HOSTNAME.is_match(text)
}

/// An address; leading zeros in IPv4 are tolerated, as Kubernetes does.
fn address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::from);
    }
    let parts: Vec<&str> = text.split('.').collect();
    let is_part = |it: &&str| it.bytes().all(|b| b.is_ascii_digit()) && it.parse::<u8>().is_ok();
    let is_address = parts.len() == 4 && parts.iter().all(is_part);
    is_address.then_some(IpAddr::from(Ipv4Addr::UNSPECIFIED))
}

fn is_cidr(text: &str) -> bool {
    let Some((ip, bits)) = text.split_once('/') else { return false };
    let most = if ip.contains(':') { 128 } else { 32 };
    let is_number = bits.len() <= 3 && bits.bytes().all(|it| it.is_ascii_digit());
    address(ip).is_some() && is_number && bits.parse::<u32>().is_ok_and(|it| it <= most)
}

fn is_mac(text: &str) -> bool {
    let groups = |separator: char, digits: usize, counts: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        counts.contains(&parts.len()) && parts.iter().all(|it| it.len() == digits && is_hex(it))
    };
    let is_plain = matches!(text.len(), 12 | 16 | 40) && is_hex(text);
    is_plain || groups(':', 2, [6, 8, 20]) || groups('-', 2, [6, 8, 20]) || groups('.', 4, [3, 4, 10])
}

fn is_uuid(text: &str, version: Option<u8>) -> bool {
    let mut digits = Vec::with_capacity(32);
    let mut bytes = text.bytes().peekable();
    for length in [8, 4, 4, 4, 12] {
        if !digits.is_empty() {
            bytes.next_if_eq(&b'-');
        }
        digits.extend(bytes.by_ref().take(length));
    }
    let is_hex = digits.len() == 32 && digits.iter().all(u8::is_ascii_hexdigit) && bytes.next().is_none();
    let is_variant =
        !matches!(version, Some(b'4' | b'5')) || digits.get(16).is_some_and(|it| b"89abAB".contains(it));
    is_hex && is_variant && version.is_none_or(|it| digits[12] == it)
}

/// The digits of an ISBN, without dashes and spaces.
fn isbn_digits(text: &str) -> String {
    text.chars().filter(|it| !it.is_whitespace() && *it != '-').collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = isbn_digits(text);
    let bytes = digits.as_bytes();
    if bytes.len() != 10 || !bytes[..9].iter().all(u8::is_ascii_digit) {
        return false;
    }
    let last = match bytes[9] {
        b'X' => 10,
        it if it.is_ascii_digit() => u32::from(it - b'0'),
        _ => return false,
    };
    let sum: u32 = bytes[..9].iter().zip(1..).map(|(it, weight)| u32::from(it - b'0') * weight).sum();
    (sum + last * 10).is_multiple_of(11)
}

fn is_isbn13(text: &str) -> bool {
    let digits = isbn_digits(text);
    let bytes = digits.as_bytes();
    if bytes.len() != 13 || !bytes.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let weighed =
        bytes.iter().enumerate().map(|(at, it)| u32::from(it - b'0') * if at % 2 == 0 { 1 } else { 3 });
    weighed.sum::<u32>().is_multiple_of(10)
}

fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let doubled = |it: u32| if it * 2 > 9 { it * 2 - 9 } else { it * 2 };
    let values = digits.bytes().rev().map(|it| u32::from(it - b'0')).enumerate();
    let sum: u32 = values.map(|(at, it)| if at % 2 == 1 { doubled(it) } else { it }).sum();
    CARD.is_match(&digits) && sum.is_multiple_of(10)
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && is_hex(digits)
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |it: u8| it.is_ascii_alphanumeric() || it == b'+' || it == b'/';
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(is_digit)
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_shape = bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(at, it)| if at == 4 || at == 7 { *it == b'-' } else { it.is_ascii_digit() });
    is_shape && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_date_time(text: &str) -> bool {
    let text = text.to_lowercase();
    let mut parts = text.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    let Some(found) = TIME.captures(time) else { return false };
    is_date(date) && &found[1] <= "23" && &found[2] <= "59" && &found[3] <= "59"
}

fn is_duration(text: &str) -> bool {
    if is_go_duration(text) {
        return true;
    }
    let mut found = DURATION.captures_iter(text).peekable();
    let known = |unit: &str| {
        let unit = unit.to_lowercase();
        let names = ["ns", "us", "µs", "ms", "s", "m", "h", "d", "w", "wk", "hr", "min", "sec"];
        let long = ["nano", "micro", "milli", "sec", "min", "hr", "hour", "day", "week", "wk"];
        names.contains(&unit.as_str()) || long.iter().any(|it| unit.starts_with(it))
    };
    found.peek().is_some() && found.all(|it| it[1].parse::<i64>().is_ok() && known(&it[2]))
}

/// As `time.ParseDuration` reads it: `1h30m`, `-1.5s`, `0`.
fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().find(|it| behind.starts_with(**it));
        let is_number = number.contains(|it: char| it.is_ascii_digit()) && number.matches('.').count() <= 1;
        let Some(unit) = unit.filter(|_| is_number) else { return false };
        rest = &behind[unit.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn texts_are_of_their_format_or_not() {
        for (format, right, wrong) in [
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f1f77"),
            ("uri", "https://example.com/a?b", "example.com"),
            ("email", "A <a@example.com>", "a@"),
            ("hostname", "node-1.example.com", "-a.example.com"),
            ("ipv4", "010.0.0.1", "10.0.0.256"),
            ("ipv6", "fe80::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/24", "10.0.0.0/33"),
            ("mac", "00:00:5e:00:53:01", "00:00:5e"),
            ("mac", "00005e005301", "00005e0053"),
            ("uuid", "A1B2C3D4e5f60718293a4b5c6d7e8f90", "a1b2"),
            ("uuid4", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "f47ac10b-58cc-5372-a567-0e02b2c3d479"),
            ("isbn", "978-0321751041", "978-0321751042"),
            ("isbn10", "0321751043", "0321751044"),
            ("creditcard", "4111 1111 1111 1111", "4111 1111 1111 1112"),
            ("ssn", "111-11-1111", "111-11-11111"),
            ("ssn", "111 11-1111", "111111111"),
            ("hexcolor", "#FFF", "#FFFF"),
            ("rgbcolor", "rgb(255, 0,1)", "rgb(256,0,1)"),
            ("byte", "aGk=", "aGk"),
            ("date", "2024-02-29", "2023-02-29"),
            ("duration", "1h30m", "soon"),
            ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15 19:30:20"),
            ("k8s-short-name", "a-b", "a.b"),
            ("k8s-long-name", "a-b.c", "a_b"),
        ] {
            let format = Format::named(format).unwrap();
            assert!(format.matches(right), "{format:?} {right}");
            assert!(!format.matches(wrong), "{format:?} {wrong}");
        }
        assert_eq!(Format::named("int64"), None);
    }
}
