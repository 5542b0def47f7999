//! Results: how a caller may ask for them, and how a client reads them back.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::value::Value;

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowShape {
    /// A row is an array of values.
    #[default]
    Array,
    /// A row is an object by column name; of columns with one name, the last is seen.
    Object,
}

/// How integers are written in JSON. MessagePack has integers of 64 bits and needs no choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ints {
    /// As numbers, exact to 64 bits; a reader that makes doubles of them loses what is beyond ±(2^53 − 1).
    #[default]
    Number,
    /// As numbers within ±(2^53 − 1), as strings beyond.
    Auto,
    /// As strings, all of them.
    String,
}

/// The largest integer that every reader of JSON keeps exact: 2^53 − 1 (RFC 8259, section 6).
const MAX_SAFE: u64 = (1 << 53) - 1;

impl RowShape {
    /// The name in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

impl Ints {
    /// The name in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Auto => "auto",
            Self::String => "string",
        }
    }

    /// Whether this integer is written as a string.
    #[must_use]
    pub fn quotes(self, value: i64) -> bool {
        match self {
            Self::Number => false,
            Self::Auto => value.unsigned_abs() > MAX_SAFE,
            Self::String => true,
        }
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name that the statement gives it.
    pub name: String,
    /// The declared type in lower case; of an expression, the storage class of its first value; `""` if that is NULL or missing.
    pub type_name: String,
}

/// Rows that are kept together: what a write returns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rows {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The values, row by row.
    pub rows: Vec<Vec<Value>>,
}

/// What one statement of a write did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatementResult {
    /// Rows inserted, updated and deleted, without those of triggers and foreign-key actions.
    pub rows_affected: u64,
    /// The rowid of the last insert of this statement, if it inserted.
    pub last_insert_id: Option<i64>,
    /// What it returned, if it returns rows.
    pub rows: Option<Rows>,
    /// Seconds that it ran.
    pub time: f64,
}

/// The answer to a whole request, as a client reads it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Response {
    /// One for each statement.
    pub results: Vec<StatementReply>,
    /// Seconds from arrival to answer.
    #[serde(default)]
    pub time: f64,
    /// The commit that the answer stands for: a write is part of it, a read saw it and perhaps later ones.
    #[serde(default)]
    pub seq: u64,
    /// Whether an earlier answer was given again under the same idempotency key.
    #[serde(default)]
    pub replayed: bool,
}

/// The answer to one statement, as a client reads it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct StatementReply {
    /// Rows changed.
    #[serde(default)]
    pub rows_affected: u64,
    /// The rowid of the last insert.
    #[serde(default)]
    pub last_insert_id: Option<i64>,
    /// Names of the columns; empty if the statement returns no rows.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Types of the columns.
    #[serde(default)]
    pub types: Vec<String>,
    /// The rows, as arrays.
    #[serde(default)]
    pub rows: Vec<Vec<Value>>,
    /// Why the statement failed, where each stands for itself.
    #[serde(default)]
    pub error: Option<Error>,
}

/// What a described statement needs and gives.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The parameters in order; `null` for one without a name.
    pub parameters: Vec<Option<String>>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Declared types of the columns, in lower case; `""` for an expression.
    pub types: Vec<String>,
    /// Whether `/query` runs it.
    pub read_only: bool,
    /// Which role it takes.
    pub role: String,
    /// SQLite's query plan.
    pub plan: Vec<PlanStep>,
}

/// A line of a query plan (<https://sqlite.org/eqp.html>).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanStep {
    /// Identifies the line.
    pub id: i64,
    /// The line that it is part of; 0 at the top.
    pub parent: i64,
    /// What is done.
    pub detail: String,
}
