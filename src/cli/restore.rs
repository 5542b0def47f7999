//! `larder restore`: replaces the whole database by a backup, which the server checks before it takes it.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use clap::Args;
use indicatif::ProgressBar;
use tokio::io::{AsyncRead, ReadBuf};

use super::connect::Connect;
use super::{Failure, progress, series};

/// How a SQLite database begins (<https://sqlite.org/fileformat2.html>).
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// How zstd begins (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Replaces the whole database.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A backup: a SQLite database, compressed with zstd or not; a directory means the newest that `backup --into` left there.
    file: PathBuf,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Restore {
    #[expect(clippy::print_stderr, reason = "what was done is said to the person, not to the pipe")]
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        if self.file.is_dir() {
            let failed = Failure::io(format!("looking for a backup in {}", self.file.display()));
            self.file = series::newest(&self.file).map_err(failed)?;
        }
        let media_type = sniff(&self.file)?;
        let sidecar = self.connect.sidecar()?;
        let failed = || Failure::io(format!("reading {}", self.file.display()));
        let file = tokio::fs::File::open(&self.file).await.map_err(failed())?;
        let length = file.metadata().await.map_err(failed())?.len();
        let size = progress::bytes(length);
        if !self.yes {
            confirm(&format!(
                "{} ({size}) replaces the whole database at {}. Go on? [yes/no] ",
                self.file.display(),
                sidecar.endpoint()
            ))?;
        }
        let bar = progress::of(Some(length));
        let reader = Counted { reader: file, bar: bar.clone() };
        let answer = sidecar.upload("/restore", media_type, reader, length).await;
        bar.finish_and_clear();
        answer?;
        eprintln!("{}: {size} restored", self.file.display());
        Ok(())
    }
}

/// The media type by how the file begins.
fn sniff(path: &Path) -> Result<&'static str, Failure> {
    let failed = || Failure::io(format!("reading {}", path.display()));
    let file = std::fs::File::open(path).map_err(failed())?;
    let mut start = Vec::new();
    file.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut start).map_err(failed())?;
    if start == SQLITE_MAGIC {
        Ok("application/vnd.sqlite3")
    } else if start.starts_with(&ZSTD_MAGIC) {
        Ok("application/vnd.sqlite3+zstd")
    } else {
        Err(Failure::Usage(format!("{} is neither a SQLite database nor zstd", path.display())))
    }
}

/// Asks on the terminal; without one, nobody can have meant it.
#[expect(clippy::print_stderr, reason = "a question to the person")]
fn confirm(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "a restore replaces everything; without a terminal, say --yes".to_owned(),
        ));
    }
    eprint!("{question}");
    let mut answer = String::new();
    std::io::stderr().flush().map_err(Failure::io("asking"))?;
    std::io::stdin().read_line(&mut answer).map_err(Failure::io("asking"))?;
    match answer.trim() {
        "yes" | "y" => Ok(()),
        _ => Err(Failure::Cancelled),
    }
}

/// Moves the bar as the file is read.
struct Counted {
    reader: tokio::fs::File,
    bar: ProgressBar,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.reader).poll_read(context, buffer))?;
        self.bar.inc((buffer.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_known_by_how_it_begins() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let of = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).expect("written");
            sniff(file.path()).map_err(|it| it.exit_code())
        };
        assert_eq!(of(b"SQLite format 3\0rest"), Ok("application/vnd.sqlite3"));
        assert_eq!(of(&[0x28, 0xb5, 0x2f, 0xfd, 0]), Ok("application/vnd.sqlite3+zstd"));
        assert_eq!(of(b"SQLite format 2"), Err(2));
        assert_eq!(of(b""), Err(2));
        assert_eq!(sniff(Path::new("/no/such/file")).map_err(|it| it.exit_code()), Err(1));
    }
}
