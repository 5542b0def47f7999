//! `larder query`: SQL that reads.

use clap::Args;
use larder_client::Operation;

use super::Failure;
use super::connect::Connect;
use super::output::Output;
use super::statements::Statements;

/// Reads: all statements see one snapshot.
#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    statements: Statements,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connect: Connect,
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.statements.run(Operation::Query, &self.connect, &self.output).await
    }
}
