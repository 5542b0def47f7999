//! Tables, as `kubectl get` shows them (`meta.k8s.io` `Table`).
//!
//! Columns are those of the resource's document, with the name before them, and are there even if the list is empty.

use serde_json::{Number, Value, json};

use super::accept::MetaVersion;
use super::presenter::{ListMeta, push_partial};
use super::select::{self, Wanted};
use super::{JsonPath, Unreadable, human_duration};
use crate::field::FieldError;
use crate::json;
use crate::registry::Version;

/// What a row holds besides its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// The object's metadata.
    #[default]
    Metadata,
    /// The object.
    Object,
}

impl IncludeObject {
    /// Reads the `includeObject` of a query.
    ///
    /// # Errors
    /// It is none of the three: a 400 with this text.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => {
                let detail = "must be 'Metadata', 'Object', 'None', or empty";
                let error = FieldError::invalid_text("includeObject", other, detail);
                Err(format!("Unable to convert to Table as requested: {error}"))
            }
        }
    }
}

/// The name and the age of every object are told under these.
const NAME: usize = usize::MAX;
const ANNOTATIONS: usize = usize::MAX - 1;
const REVISION: usize = usize::MAX - 2;

const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although some \
    resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for \
    creation idempotence and configuration definition. Cannot be updated. More info: \
    https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";

pub(super) struct Table {
    version: MetaVersion,
    include: IncludeObject,
    now: jiff::Timestamp,
    /// The JSON of the column definitions.
    definitions: Vec<u8>,
    columns: Vec<Column>,
    /// What a row takes out of an object: the cells of columns by their number, and the name.
    wanted: Wanted,
    /// As `wanted`, and what a table of a single object says of itself.
    wanted_alone: Wanted,
}

struct Column {
    path: JsonPath,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    String,
    Integer,
    Number,
    Boolean,
    Date,
}

impl Table {
    pub(super) fn new(
        version: &Version,
        meta: MetaVersion,
        include: IncludeObject,
        now: jiff::Timestamp,
    ) -> Self {
        let columns: Vec<Column> = version.columns.iter().map(Column::new).collect();
        let wanted = || {
            let mut wanted = Wanted::default();
            wanted.add(&["metadata".to_owned(), "name".to_owned()], NAME);
            for (number, column) in columns.iter().enumerate() {
                wanted.add(column.path.names(), number);
            }
            wanted
        };
        let mut wanted_alone = wanted();
        wanted_alone.add(&["metadata".to_owned(), "resourceVersion".to_owned()], REVISION);
        wanted_alone.add(&["metadata".to_owned(), "annotations".to_owned()], ANNOTATIONS);
        let definitions = definitions(version);
        Self { version: meta, include, now, definitions, wanted: wanted(), wanted_alone, columns }
    }

    pub(super) fn begin(&self, meta: &ListMeta, with_columns: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"");
        out.extend_from_slice(self.version.api_version().as_bytes());
        out.extend_from_slice(b"\",\"metadata\":");
        json::write(out, meta);
        out.extend_from_slice(b",\"columnDefinitions\":");
        out.extend_from_slice(if with_columns { &self.definitions } else { b"null" });
        out.extend_from_slice(b",\"rows\":[");
    }

    /// A table of one object.
    pub(super) fn single(
        &self,
        json: &[u8],
        with_columns: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let before = out.len();
        let (mut meta, mut is_end) = (ListMeta::default(), false);
        let mut cells = self.cells();
        let metadata = select::values(json, &self.wanted_alone, &mut |number, value| match number {
            REVISION => meta.resource_version = value.as_str().unwrap_or_default().to_owned(),
            ANNOTATIONS => is_end = value.get("k8s.io/initial-events-end").is_some(),
            _ => self.tell(number, value, &mut cells),
        })?;
        out.truncate(before);
        self.begin(&meta, with_columns, out);
        // Whoever waits for the end of the initial events has to see it, whatever it wants of the others.
        let include = if is_end && self.include == IncludeObject::None {
            IncludeObject::Metadata
        } else {
            self.include
        };
        self.push_row(&cells, include, metadata, json, out);
        out.extend_from_slice(b"]}");
        Ok(())
    }

    pub(super) fn row(&self, json: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let mut cells = self.cells();
        let metadata =
            select::values(json, &self.wanted, &mut |number, value| self.tell(number, value, &mut cells))?;
        self.push_row(&cells, self.include, metadata, json, out);
        Ok(())
    }

    /// The cells of a row, each as JSON; at first nothing is known.
    fn cells(&self) -> Vec<Vec<u8>> {
        let mut cells = vec![b"null".to_vec(); self.columns.len() + 1];
        cells[0] = b"\"\"".to_vec();
        cells
    }

    fn tell(&self, number: usize, value: &Value, cells: &mut [Vec<u8>]) {
        let (cell, value) = match self.columns.get(number) {
            None => (0, Some(value.clone())),
            Some(column) => {
                (number + 1, column.path.first_below(value).and_then(|it| column.cell(it, self.now)))
            }
        };
        if let Some(value) = value {
            cells[cell].clear();
            json::write(&mut cells[cell], &value);
        }
    }

    fn push_row(
        &self,
        cells: &[Vec<u8>],
        include: IncludeObject,
        metadata: &str,
        json: &[u8],
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"{\"cells\":[");
        for (number, cell) in cells.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            out.extend_from_slice(cell);
        }
        out.extend_from_slice(b"],\"object\":");
        match include {
            IncludeObject::None => out.extend_from_slice(b"null"),
            IncludeObject::Metadata => push_partial(metadata, self.version, out),
            IncludeObject::Object => out.extend_from_slice(json),
        }
        out.push(b'}');
    }
}

impl Column {
    fn new(column: &crate::registry::Column) -> Self {
        let kind = match column.kind.as_str() {
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "date" => Kind::Date,
            _ => Kind::String,
        };
        // A resource that was not read from a document may say anything; its column is empty then.
        let nowhere = || JsonPath::parse(".metadata.none").expect("it is a path");
        Self { path: JsonPath::parse(&column.json_path).unwrap_or_else(|_| nowhere()), kind }
    }

    /// What a cell shows of a value; nothing if it is not of the column's type.
    fn cell(&self, value: &Value, now: jiff::Timestamp) -> Option<Value> {
        match (self.kind, value) {
            (Kind::String, Value::Null) => Some("<no value>".into()),
            (_, Value::Null) => None,
            (Kind::String, Value::String(text)) => Some(text.as_str().into()),
            (Kind::String, Value::Number(number)) => Some(text_of(number).into()),
            (Kind::String, other) => Some(other.to_string().into()),
            (Kind::Integer, value) => value.as_i64().or_else(|| value.as_f64().map(cut)).map(Value::from),
            (Kind::Number, value) => value.as_f64().map(Value::from),
            (Kind::Boolean, value) => value.as_bool().map(Value::from),
            (Kind::Date, value) => Some(age(value.as_str()?, now).into()),
        }
    }
}

/// A number as Go's `%v` prints it.
fn text_of(number: &Number) -> String {
    let Some(double) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    if double == 0.0 || (1e-4..1e21).contains(&double.abs()) {
        return double.to_string();
    }
    let text = format!("{double:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |it| ('-', it));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => text,
    }
}

/// A double as an integer: what does not fit becomes the least one, as processors have it that Go runs on.
fn cut(double: f64) -> i64 {
    const END: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "it was looked at")]
    if (-END..END).contains(&double) { double as i64 } else { i64::MIN }
}

fn age(time: &str, now: jiff::Timestamp) -> String {
    match time.parse::<jiff::Timestamp>() {
        Ok(time) => human_duration(now.as_second() - time.as_second()),
        Err(_) if time.is_empty() => "<unknown>".to_owned(),
        Err(_) => "<invalid>".to_owned(),
    }
}

fn definitions(version: &Version) -> Vec<u8> {
    let definition = |name: &str, kind: &str, format: &str, description: &str, priority: i32| {
        let mut out = Vec::new();
        for (key, value) in [
            ("{\"name\":", json!(name)),
            (",\"type\":", json!(kind)),
            (",\"format\":", json!(format)),
            (",\"description\":", json!(description)),
            (",\"priority\":", json!(priority)),
        ] {
            out.extend_from_slice(key.as_bytes());
            json::write(&mut out, &value);
        }
        out.push(b'}');
        out
    };
    let mut all = vec![definition("Name", "string", "name", NAME_DESCRIPTION, 0)];
    for column in &version.columns {
        let path = format!("Custom resource definition column (in JSONPath format): {}", column.json_path);
        let description = if column.description.is_empty() { &path } else { &column.description };
        all.push(definition(&column.name, &column.kind, &column.format, description, column.priority));
    }
    let mut out = b"[".to_vec();
    out.extend_from_slice(&all.join(&b','));
    out.push(b']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_those_of_go() {
        for (kind, value, cell) in [
            (Kind::String, json!(1e-7), Some(json!("1e-07"))),
            (Kind::String, json!(1e21), Some(json!("1e+21"))),
            (Kind::String, json!(1.5e20), Some(json!("150000000000000000000"))),
            (Kind::String, json!(0.001), Some(json!("0.001"))),
            (Kind::String, json!(7), Some(json!("7"))),
            (Kind::String, json!(null), Some(json!("<no value>"))),
            (Kind::Integer, json!(null), None),
            (Kind::Integer, json!(2.9), Some(json!(2))),
            (Kind::Integer, json!(1e21), Some(json!(i64::MIN))),
        ] {
            let column = Column { path: JsonPath::parse(".a").expect("a path"), kind };
            assert_eq!(column.cell(&value, jiff::Timestamp::UNIX_EPOCH), cell, "{value}");
        }
        let mut out = Vec::new();
        json::write(&mut out, &json!(3.0));
        assert_eq!(out, b"3");
    }
}
