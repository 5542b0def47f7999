//! `larder execute`: SQL that may write.

use clap::Args;
use larder_client::Operation;

use super::Failure;
use super::connect::Connect;
use super::output::Output;
use super::statements::Statements;

/// Writes: all statements or none.
#[derive(Debug, Args)]
pub(crate) struct Execute {
    #[command(flatten)]
    statements: Statements,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connect: Connect,
}

impl Execute {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.statements.run(Operation::Execute, &self.connect, &self.output).await
    }
}
