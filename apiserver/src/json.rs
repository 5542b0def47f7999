//! JSON as Go writes it: doubles without an exponent from a millionth up to 10^21, so that a whole one is read back as an integer.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Appends a value to `out`.
///
/// # Panics
/// Keys of maps have to be texts.
pub(crate) fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let mut serializer = Serializer::with_formatter(out, AsGo);
    value.serialize(&mut serializer).expect("memory takes everything, and keys are texts");
}

/// A value by itself.
pub(crate) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, value);
    out
}

struct AsGo;

impl Formatter for AsGo {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let magnitude = value.abs();
        if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
            return write!(writer, "{value}");
        }
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => write!(writer, "{digits}e+{exponent}"),
            _ => writer.write_all(text.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn doubles_look_as_in_go() {
        for (value, text) in [
            (json!(1e20), "100000000000000000000"),
            (json!(9_223_372_036_854_775_808_f64), "9223372036854776000"),
            (json!(1e21), "1e+21"),
            (json!(-1.5e300), "-1.5e+300"),
            (json!(1e-6), "0.000001"),
            (json!(1.25e-7), "1.25e-7"),
            (json!([0.5, -0.0, 3, "x"]), r#"[0.5,-0,3,"x"]"#),
        ] {
            assert_eq!(String::from_utf8_lossy(&to_vec(&value)), text);
        }
    }

    proptest! {
        #[test]
        fn no_double_changes(value in any::<f64>().prop_filter("a number", |it| it.is_finite())) {
            let read: Value = serde_json::from_slice(&to_vec(&value)).expect("JSON");
            prop_assert_eq!(read.as_f64(), Some(value));
        }
    }
}
