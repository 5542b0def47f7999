//! What a caller may choose in the query string, and which format it is answered in.

use http::{HeaderMap, Uri, header};
use larder_wire::encode::{Csv, Encoder, Json, Msgpack, MsgpackStream, Ndjson, Style};
use larder_wire::{Error, Ints, Kind, Request, RowShape, code};
use std::time::Duration;

/// The query string of `/execute`, `/query` and `/describe`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Choices {
    pub(super) sql: Option<String>,
    pub(super) atomic: Option<bool>,
    pub(super) timeout: Option<Duration>,
    rows: Option<RowShape>,
    ints: Option<Ints>,
    pretty: bool,
}

/// What [`Choices`] knows.
const KNOWN: &str = "q, atomic, timeout_ms, rows, ints, pretty";

impl Choices {
    /// Reads a query string.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Error> {
        let mut choices = Self::default();
        let Some(query) = uri.query() else { return Ok(choices) };
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            let bad = |expected: &str| invalid(format!("{name}={value:?}: expected {expected}"));
            match name.as_str() {
                "q" => choices.sql = Some(value),
                "atomic" => choices.atomic = Some(flag(&value).ok_or_else(|| bad("true or false"))?),
                "transaction" => choices.atomic = Some(flag(&value).ok_or_else(|| bad("true or false"))?),
                "pretty" => choices.pretty = flag(&value).ok_or_else(|| bad("true or false"))?,
                "associative" => {
                    let objects = flag(&value).ok_or_else(|| bad("true or false"))?;
                    choices.rows = Some(if objects { RowShape::Object } else { RowShape::Array });
                }
                "timings" => {}
                "timeout_ms" => {
                    let millis = value.parse().map_err(|_| bad("milliseconds"))?;
                    choices.timeout = Some(Duration::from_millis(millis));
                }
                "rows" => choices.rows = Some(shape(&value).ok_or_else(|| bad("array or object"))?),
                "ints" => choices.ints = Some(ints(&value).ok_or_else(|| bad("number, auto or string"))?),
                _ => return Err(invalid(format!("unknown parameter {name:?}: expected {KNOWN}"))),
            }
        }
        Ok(choices)
    }

    /// The query string first, then the envelope.
    pub(super) fn style(&self, request: &Request) -> Style {
        Style {
            rows: self.rows.or(request.rows).unwrap_or_default(),
            ints: self.ints.or(request.ints).unwrap_or_default(),
            pretty: self.pretty,
        }
    }

    /// The time that the request may take.
    pub(super) fn timeout(
        &self,
        request: &Request,
        default: Duration,
        longest: Duration,
    ) -> Result<Duration, Error> {
        let asked = self.timeout.or(request.timeout_ms.map(Duration::from_millis));
        match asked {
            None => Ok(default),
            Some(time) if time.is_zero() || time > longest => {
                Err(invalid(format!("timeout_ms has to be between 1 and {}", longest.as_millis())))
            }
            Some(time) => Ok(time),
        }
    }
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(Kind::Invalid, code::OPTION_INVALID, message)
}

/// A parameter that stands alone is on.
pub(super) fn flag(value: &str) -> Option<bool> {
    match value {
        "" | "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

fn shape(value: &str) -> Option<RowShape> {
    [RowShape::Array, RowShape::Object].into_iter().find(|it| it.name() == value)
}

fn ints(value: &str) -> Option<Ints> {
    [Ints::Number, Ints::Auto, Ints::String].into_iter().find(|it| it.name() == value)
}

/// The encoder for the first media type in `Accept` that there is one for.
pub(super) fn negotiate(headers: &HeaderMap, style: Style) -> Result<Box<dyn Encoder>, Error> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Box::new(Json::new(style))) };
    let accept = accept.to_str().unwrap_or_default();
    for name in accept.split(',') {
        let essence = name.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            larder_wire::JSON | "*/*" | "application/*" | "" => return Ok(Box::new(Json::new(style))),
            larder_wire::MSGPACK | "application/msgpack" | "application/x-msgpack" => {
                return Ok(Box::<Msgpack>::default());
            }
            larder_wire::MSGPACK_STREAM => return Ok(Box::<MsgpackStream>::default()),
            larder_wire::NDJSON | "application/ndjson" => return Ok(Box::new(Ndjson::new(style))),
            larder_wire::CSV | "text/*" => return Ok(Box::new(Csv)),
            _ => {}
        }
    }
    let message = format!(
        "Accept {accept:?} names no format that there is: {}, {}, {}, {}, {}",
        larder_wire::JSON,
        larder_wire::NDJSON,
        larder_wire::CSV,
        larder_wire::MSGPACK,
        larder_wire::MSGPACK_STREAM
    );
    Err(Error::new(Kind::MediaType, code::MEDIA_TYPE_UNSUPPORTED, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_read_or_refused() {
        let parse = |query: &str| Choices::parse(&format!("/query?{query}").parse().expect("a URI"));
        assert_eq!(parse("q=SELECT+1%2B1").expect("choices").sql.as_deref(), Some("SELECT 1+1"));
        assert!(parse("pretty").expect("choices").pretty);
        assert_eq!(parse("associative").expect("choices").rows, Some(RowShape::Object));
        assert_eq!(parse("associative=0").expect("choices").rows, Some(RowShape::Array));
        assert_eq!(parse("timeout_ms=5").expect("choices").timeout, Some(Duration::from_millis(5)));
        for bad in ["row=object", "rows=objects", "ints=all", "timeout_ms=x", "atomic=maybe"] {
            assert_eq!(parse(bad).expect_err(bad).code, code::OPTION_INVALID, "{bad}");
        }
    }
}
