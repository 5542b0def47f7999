//! What is to be run: SQL from the command line, from several `-e`, or from standard input; with arguments.

use std::io::Read as _;

use clap::Args;
use larder_client::Operation;
use larder_wire::{Args as SqlArgs, Request, Statement};

use super::connect::Connect;
use super::output::{Output, Sink};
use super::{Failure, params, split};

/// The SQL of `query` and `execute`.
#[derive(Debug, Args)]
pub(crate) struct Statements {
    /// One SQL statement; `-` reads statements from standard input.
    #[arg(required_unless_present = "each", value_name = "SQL")]
    sql: Option<String>,
    /// What is bound to its parameters: `null`, numbers as such, `@FILE` as bytes, all else text; `:name=value`.
    #[arg(value_name = "PARAM", allow_negative_numbers = true)]
    params: Vec<String>,
    /// A statement without parameters; may be given again.
    #[arg(short = 'e', long = "sql", value_name = "SQL", conflicts_with_all = ["sql", "params"])]
    each: Vec<String>,
    /// Bind everything as text.
    #[arg(long)]
    text: bool,
}

impl Statements {
    /// Runs them in one request and prints the answer.
    pub(crate) async fn run(
        self,
        operation: Operation,
        connect: &Connect,
        output: &Output,
    ) -> Result<(), Failure> {
        let sidecar = connect.sidecar()?;
        let mut request = Request::new(self.read()?);
        request.timeout_ms = connect.timeout_ms();
        output.run(&sidecar, operation, &request, &mut Sink::stdout()).await?;
        Ok(())
    }

    fn read(self) -> Result<Vec<Statement>, Failure> {
        if !self.each.is_empty() {
            return Ok(self.each.into_iter().map(Statement::new).collect());
        }
        let sql = self.sql.unwrap_or_default();
        let mut statements = if sql == "-" { from_stdin()? } else { vec![Statement::new(sql)] };
        if !self.params.is_empty() {
            let [statement] = statements.as_mut_slice() else {
                return Err(Failure::Usage("parameters need exactly one statement".to_owned()));
            };
            statement.args = SqlArgs::One(params::parse(&self.params, self.text)?);
        }
        Ok(statements)
    }
}

fn from_stdin() -> Result<Vec<Statement>, Failure> {
    let mut script = String::new();
    std::io::stdin().read_to_string(&mut script).map_err(Failure::io("reading standard input"))?;
    let statements: Vec<_> = split::split(&script).into_iter().map(Statement::new).collect();
    if statements.is_empty() {
        return Err(Failure::Usage("there is no SQL on standard input".to_owned()));
    }
    Ok(statements)
}
