//! `larder status`: what the server says about itself.

use clap::{Args, ValueEnum};
use comfy_table::presets::NOTHING;
use serde_json::Value as Json;

use super::Failure;
use super::connect::Connect;
use super::output::{Sink, escape};

/// A status is read whole; it is a page or two.
const LIMIT: usize = 4 << 20;

/// Shows how the server is.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// How to print [default: table on a terminal, otherwise json].
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Status {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut sink = Sink::stdout();
        let table = self.output.map_or(sink.is_terminal(), |it| it == Format::Table);
        print(&self.connect.sidecar()?, table, &mut sink).await
    }
}

/// Prints `/status` as a table or as JSON.
pub(crate) async fn print(
    sidecar: &larder_client::Sidecar,
    table: bool,
    sink: &mut Sink,
) -> Result<(), Failure> {
    let body = sidecar.get("/status").await?.bytes(LIMIT).await?;
    let status: Json = serde_json::from_slice(&body)
        .map_err(|error| larder_client::Error::Broken(format!("the status is no JSON: {error}")))?;
    let text = if table { drawn(&status) } else { format!("{status:#}") };
    // Nothing in it needs a terminal's obedience, whether drawn or not.
    sink.write(escape::text(&text).as_bytes())?;
    sink.write(b"\n")
}

fn drawn(status: &Json) -> String {
    let mut lines = Vec::new();
    flatten(String::new(), status, &mut lines);
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING);
    lines.into_iter().for_each(|(name, value)| {
        table.add_row([name, value]);
    });
    table.trim_fmt()
}

/// Every leaf with the path to it.
fn flatten(path: String, value: &Json, lines: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Json::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flatten(below(name), value, lines));
        }
        Json::Array(items) if items.iter().any(|it| it.is_object() || it.is_array()) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| flatten(below(&index.to_string()), value, lines));
        }
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(leaf).collect();
            lines.push((path, items.join(", ")));
        }
        other => lines.push((path, leaf(other))),
    }
}

fn leaf(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_drawn_by_paths() {
        let status = serde_json::json!({
            "ready": true,
            "writer": {"queue": 0, "error": null},
            "checks": [{"name": "disk"}, {"name": "wal"}],
            "roles": ["reader", "owner"],
        });
        let mut lines: Vec<String> = drawn(&status).lines().map(|it| it.trim().to_owned()).collect();
        lines.sort();
        let squeezed: Vec<String> =
            lines.iter().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            squeezed,
            [
                "checks.0.name disk",
                "checks.1.name wal",
                "ready true",
                "roles reader, owner",
                "writer.error -",
                "writer.queue 0"
            ]
        );
    }
}
