//! A quantity of Kubernetes, as far as volumes need it: whole numbers with a unit
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).

use std::fmt;
use std::str::FromStr;

/// So many bytes, as they were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quantity {
    text: String,
    bytes: u64,
}

impl Quantity {
    /// How many bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Quantity {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not a size of a volume such as 500Mi or 10Gi");
        let digits = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit {
            "" => 1,
            "k" => 1000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        let bytes = number.checked_mul(unit).filter(|it| *it >= SMALLEST).ok_or_else(bad)?;
        Ok(Self { text: text.to_owned(), bytes })
    }
}

/// Below this there is no room for the log alone.
const SMALLEST: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_or_refused() {
        for (text, bytes) in [("10Gi", 10 << 30), ("500M", 500_000_000), ("134217728", 128 << 20)] {
            let read = text.parse::<Quantity>().expect(text);
            assert_eq!((read.bytes(), read.to_string().as_str()), (bytes, text));
        }
        for text in ["", "Gi", "10GiB", "1.5Gi", "-1Gi", "1Mi", "99999999999Ti"] {
            assert!(text.parse::<Quantity>().is_err(), "{text}");
        }
    }
}
