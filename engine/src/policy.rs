//! What SQL from outside may do. The authorizer decides while a statement is compiled, on what it would do and
//! never on how its text looks (<https://sqlite.org/c3ref/set_authorizer.html>).
//!
//! On the writer the decision does not depend on the caller, so that compiled statements can be shared: the
//! authorizer refuses what nobody may do and records which role the rest takes; the writer compares
//! that with the caller's. On readers everything but reading is refused.

use larder_wire::Role;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, config::DbConfig};
use std::sync::{Arc, Mutex};

use crate::options::Options;
use crate::sync::lock;

/// What compiled statements may do on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read only.
    Read,
    /// Read, change data, change the schema.
    Write,
}

/// What the authorizer saw of one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// The role that it takes.
    pub(crate) role: Role,
    /// The tables that it changes, those of triggers and foreign-key actions included.
    pub(crate) tables: Vec<Arc<str>>,
    /// Whether the statement itself inserts.
    pub(crate) inserts: bool,
    /// Whether the statement itself updates.
    pub(crate) updates: bool,
    /// Whether it changes the schema.
    pub(crate) alters: bool,
    /// Whether it changes how foreign keys are checked for the rest of the transaction.
    pub(crate) defers_foreign_keys: bool,
    /// Whether it asks how many rows an earlier statement changed.
    pub(crate) reads_changes: bool,
    /// Why it was refused, in a sentence.
    pub(crate) refusal: Option<String>,
}

impl Default for Footprint {
    fn default() -> Self {
        Self {
            role: Role::Reader,
            tables: Vec::new(),
            inserts: false,
            updates: false,
            alters: false,
            defers_foreign_keys: false,
            reads_changes: false,
            refusal: None,
        }
    }
}

/// Shared between a connection's authorizer and whoever compiles statements on it.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Mutex<Recording>>);

#[derive(Debug, Default)]
struct Recording {
    trusted: bool,
    footprint: Option<Footprint>,
}

impl Recorder {
    /// Compiles or runs the server's own SQL, which is not judged.
    pub(crate) fn trusted<T>(&self, run: impl FnOnce() -> T) -> T {
        /// Ends the trust even by a panic.
        struct Trust<'r>(&'r Recorder);
        impl Drop for Trust<'_> {
            fn drop(&mut self) {
                lock(&self.0.0).trusted = false;
            }
        }
        lock(&self.0).trusted = true;
        let _trust = Trust(self);
        run()
    }

    /// What was seen since the last call; `None` if nothing was compiled.
    pub(crate) fn take(&self) -> Option<Footprint> {
        lock(&self.0).footprint.take()
    }

    fn judge(&self, access: Access, context: &AuthContext<'_>) -> Authorization {
        let mut recording = lock(&self.0);
        if recording.trusted {
            return Authorization::Allow;
        }
        let footprint = recording.footprint.get_or_insert_default();
        match judge(access, context, footprint) {
            Ok(()) => Authorization::Allow,
            Err(refusal) => {
                footprint.refusal.get_or_insert(refusal);
                Authorization::Deny
            }
        }
    }
}

/// Sets authorizer, limits and defences on a connection, for good: setting an authorizer again would make SQLite
/// compile every cached statement again.
pub(crate) fn harden(
    connection: &mut Connection,
    access: Access,
    options: &Options,
) -> rusqlite::Result<Recorder> {
    for (config, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        connection.set_db_config(config, on)?;
    }
    let max_value = i32::try_from(options.max_value_bytes).unwrap_or(i32::MAX);
    for (limit, value) in [
        (Limit::SQLITE_LIMIT_LENGTH, max_value),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
        (Limit::SQLITE_LIMIT_COLUMN, 500),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
        // Some functions (`json_insert`) look through all of a long value for each pair of arguments.
        (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_VDBE_OP, 250_000),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        // Matching takes time of the order of pattern times text, and cannot be interrupted.
        (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 128),
        (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 20),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, value)?;
    }
    let recorder = Recorder(Arc::new(Mutex::new(Recording::default())));
    let judging = recorder.clone();
    connection.authorizer(Some(move |context: AuthContext<'_>| judging.judge(access, &context)))?;
    Ok(recorder)
}

/// Tables of the server's own begin with this.
pub(crate) const INTERNAL_PREFIX: &str = "_larder_";

fn is_internal(name: &str) -> bool {
    name.get(..INTERNAL_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(INTERNAL_PREFIX))
}

fn is_schema_table(name: &str) -> bool {
    ["sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(name))
}

type Verdict = Result<(), String>;

fn judge(access: Access, context: &AuthContext<'_>, seen: &mut Footprint) -> Verdict {
    judge_database(context)?;
    if let Some(table) = named_table(&context.action).filter(|table| is_internal(table)) {
        return Err(format!("table {table} is the server's own"));
    }
    match context.action {
        AuthAction::Select | AuthAction::Recursive | AuthAction::Read { .. } => Ok(()),
        AuthAction::Function { function_name } => judge_function(function_name, seen),
        AuthAction::Pragma { pragma_name, pragma_value } => {
            judge_pragma(access, pragma_name, pragma_value, seen)
        }
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => Err(TRANSACTION_HINT.to_owned()),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Err(ATTACH_HINT.to_owned()),
        AuthAction::Unknown { code, .. } => Err(format!("action {code} is not known")),
        action if access == Access::Read => {
            Err(format!("{} is not a read: send it to /execute", describe(&action)))
        }
        action => judge_change(&action, context.accessor.is_none(), seen),
    }
}

const TRANSACTION_HINT: &str = "transactions are the server's: send the statements of one transaction in one request, \
     which is all or nothing unless \"atomic\" is false";
const ATTACH_HINT: &str = "there is one database: ATTACH and DETACH are refused, for VACUUM there is POST /maintenance/vacuum, \
     for VACUUM INTO there is GET /backup";

/// Only the main database; `ALTER TABLE … RENAME` looks for views in the temporary schema too, and may read it.
fn judge_database(context: &AuthContext<'_>) -> Verdict {
    // `ALTER TABLE … DROP COLUMN` names the column where others name the database (SQLite's alter.c); the action knows.
    let database = match context.action {
        AuthAction::AlterTable { database_name, .. } => Some(database_name),
        _ => context.database_name,
    };
    match (database, &context.action) {
        (None | Some("main"), _) => Ok(()),
        (Some("temp"), AuthAction::Read { table_name, .. } | AuthAction::Update { table_name, .. })
            if is_schema_table(table_name) =>
        {
            Ok(())
        }
        (Some("temp"), _) => Err("temporary objects would be shared with other callers".to_owned()),
        (Some(other), _) => Err(format!("database {other} is out of reach")),
    }
}

fn named_table<'c>(action: &AuthAction<'c>) -> Option<&'c str> {
    match *action {
        AuthAction::Read { table_name, .. }
        | AuthAction::Insert { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::Delete { table_name }
        | AuthAction::CreateTable { table_name }
        | AuthAction::DropTable { table_name }
        | AuthAction::AlterTable { table_name, .. }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::DropVtable { table_name, .. } => Some(table_name),
        AuthAction::CreateView { view_name } | AuthAction::DropView { view_name } => Some(view_name),
        _ => None,
    }
}

fn judge_function(name: &str, seen: &mut Footprint) -> Verdict {
    match name {
        "load_extension" | "fts3_tokenizer" | "sqlite_offset" => Err(format!("function {name} is refused")),
        "total_changes" => {
            Err("function total_changes is refused: it counts other callers' changes too".to_owned())
        }
        "changes" => {
            seen.reads_changes = true;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// PRAGMAs that only ask, whatever their argument.
const ASKING: &[&str] = &[
    "collation_list",
    "compile_options",
    "data_version",
    "foreign_key_check",
    "foreign_key_list",
    "freelist_count",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "module_list",
    "page_count",
    "pragma_list",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// PRAGMAs that ask without an argument and set something with one.
const ASKING_WITHOUT_ARGUMENT: &[&str] = &[
    "application_id",
    "auto_vacuum",
    "encoding",
    "foreign_keys",
    "journal_mode",
    "max_page_count",
    "page_size",
    "query_only",
    "schema_version",
    "synchronous",
    "user_version",
];

fn judge_pragma(access: Access, name: &str, value: Option<&str>, seen: &mut Footprint) -> Verdict {
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    if ASKING.contains(&name) || (value.is_none() && ASKING_WITHOUT_ARGUMENT.contains(&name)) {
        return Ok(());
    }
    match name {
        "user_version" | "application_id" if access == Access::Write => {
            seen.role = seen.role.max(Role::Owner);
            Ok(())
        }
        "defer_foreign_keys" if access == Access::Write => {
            seen.role = seen.role.max(Role::Writer);
            seen.defers_foreign_keys = true;
            Ok(())
        }
        "user_version" | "application_id" | "defer_foreign_keys" => {
            Err(format!("PRAGMA {name} with a value is not a read: send it to /execute"))
        }
        "integrity_check" | "quick_check" => {
            Err(format!("PRAGMA {name} is refused: there is POST /maintenance/integrity-check"))
        }
        "optimize" | "wal_checkpoint" | "incremental_vacuum" => {
            Err(format!("PRAGMA {name} is refused: there is POST /maintenance/…"))
        }
        _ => Err(format!("PRAGMA {name} is refused: it is not on the list of those that only ask")),
    }
}

/// Virtual tables whose modules keep their data in the database and touch nothing else.
const MODULES: &[&str] = &["fts5", "rtree", "rtree_i32", "geopoly"];

fn judge_change(action: &AuthAction<'_>, direct: bool, seen: &mut Footprint) -> Verdict {
    match *action {
        AuthAction::Insert { table_name } => {
            seen.inserts |= direct;
            change_data(table_name, seen)
        }
        AuthAction::Update { table_name, .. } => {
            seen.updates |= direct;
            change_data(table_name, seen)
        }
        AuthAction::Delete { table_name } => change_data(table_name, seen),
        AuthAction::CreateVtable { module_name, .. } | AuthAction::DropVtable { module_name, .. }
            if !MODULES.iter().any(|it| it.eq_ignore_ascii_case(module_name)) =>
        {
            Err(format!("virtual tables of module {module_name} are refused"))
        }
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. } => {
            Err("temporary objects would be shared with other callers".to_owned())
        }
        _ => {
            seen.role = seen.role.max(Role::Owner);
            seen.alters = true;
            Ok(())
        }
    }
}

/// The schema's own table is changed by CREATE, ALTER and DROP, which are judged as such; SQLite refuses to have
/// it changed directly.
fn change_data(table: &str, seen: &mut Footprint) -> Verdict {
    seen.role = seen.role.max(Role::Writer);
    if !is_schema_table(table) && !seen.tables.iter().any(|it| &**it == table) {
        seen.tables.push(table.into());
    }
    Ok(())
}

fn describe(action: &AuthAction<'_>) -> &'static str {
    match action {
        AuthAction::Insert { .. } => "INSERT",
        AuthAction::Update { .. } => "UPDATE",
        AuthAction::Delete { .. } => "DELETE",
        AuthAction::Reindex { .. } => "REINDEX",
        AuthAction::Analyze { .. } => "ANALYZE",
        AuthAction::AlterTable { .. } => "ALTER TABLE",
        AuthAction::DropTable { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::DropVtable { .. } => "DROP",
        _ => "CREATE",
    }
}
