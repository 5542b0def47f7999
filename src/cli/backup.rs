//! `larder backup`: a copy of the whole database, taken while it is in use.
//!
//! The copy grows in `FILE.part` and gets its name when it is whole and on disk, so a file with that name is
//! always a backup.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use larder_client::{Answer, Options, Sidecar};

use super::connect::Connect;
use super::{Failure, progress, series};

/// The server copies the whole database before it sends the first byte.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The header in which the server says how long the database is, uncompressed.
const DATABASE_BYTES: &str = "larder-database-bytes";

/// Fetches a copy of the whole database.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write; compressed (zstd) if its name ends in .zst, otherwise a SQLite database.
    #[arg(required_unless_present = "into")]
    file: Option<PathBuf>,
    /// Write to this directory instead, as larder-TIME.db.zst.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["file", "force"])]
    into: Option<PathBuf>,
    /// With --into: when the backup is whole, remove the oldest until so many are left.
    #[arg(long, value_name = "N", requires = "into", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    connect: Connect,
}

impl Backup {
    #[expect(clippy::print_stderr, reason = "what was done is said to the person, not to the pipe")]
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let file = match (&self.into, self.file) {
            (Some(directory), _) => series::next(directory, jiff::Timestamp::now()),
            (None, Some(file)) => file,
            (None, None) => return Err(Failure::Usage("where to? FILE or --into DIR".to_owned())),
        };
        let written = fetch(&self.connect.sidecar()?, &file, self.force).await?;
        eprintln!("{}: {}", file.display(), progress::bytes(written));
        if let (Some(directory), Some(keep)) = (&self.into, self.keep) {
            let failed = Failure::io(format!("removing old backups from {}", directory.display()));
            for file in series::prune(directory, keep as usize).map_err(failed)? {
                eprintln!("{}: removed, as {keep} newer ones are kept", file.display());
            }
        }
        Ok(())
    }
}

/// Fetches a backup into `file` and says how long it is.
pub(crate) async fn fetch(sidecar: &Sidecar, file: &Path, force: bool) -> Result<u64, Failure> {
    if !force && file.exists() {
        return Err(Failure::Usage(format!("{} exists; --force replaces it", file.display())));
    }
    let patient = sidecar.clone().with_options(Options { answer: PATIENCE, ..sidecar.options() });
    let answer = patient.get("/backup").await?;
    let part = Part(with_suffix(file, ".part"));
    let length = receive(answer, &part.0, is_zstd(file)).await?;
    let failed = || Failure::io(format!("writing {}", file.display()));
    std::fs::rename(&part.0, file).map_err(failed())?;
    sync_directory(file).map_err(failed())?;
    Ok(length)
}

/// A file that is of no use to anybody unless it gets its name before this is dropped.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone already if all went well; if it cannot be removed, that is not worth a second error.
        drop(std::fs::remove_file(&self.0));
    }
}

async fn receive(mut answer: Answer, part: &Path, keep_zstd: bool) -> Result<u64, Failure> {
    let failed = || Failure::io(format!("writing {}", part.display()));
    let comes_as_zstd = answer.media_type().ends_with("+zstd");
    let database_bytes = answer.headers().get(DATABASE_BYTES).and_then(|it| it.to_str().ok()?.parse().ok());
    let mut writer =
        Writer::new(create(part).map_err(failed())?, comes_as_zstd, keep_zstd).map_err(failed())?;
    let bar = progress::of(if keep_zstd { answer.length() } else { database_bytes });
    while let Some(chunk) = answer.chunk().await? {
        writer.write_all(&chunk).map_err(failed())?;
        bar.set_position(writer.written().map_err(failed())?);
    }
    bar.finish_and_clear();
    let mut file = writer.finish().map_err(failed())?;
    file.sync_all().map_err(failed())?;
    let length = file.stream_position().map_err(failed())?;
    // A stream of zstd that was cut between two blocks looks whole.
    if !keep_zstd && database_bytes.is_some_and(|it| it != length) {
        return Err(larder_client::Error::Broken("the backup is not whole".to_owned()).into());
    }
    Ok(length)
}

/// Readable by nobody else: it is the whole database.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).read(true).create(true).truncate(true).mode(0o600).open(path)
}

enum Writer {
    Plain(File),
    Unpack(zstd::stream::write::Decoder<'static, File>),
    Pack(zstd::stream::write::Encoder<'static, File>),
}

impl Writer {
    fn new(file: File, comes_as_zstd: bool, keep_zstd: bool) -> io::Result<Self> {
        Ok(match (comes_as_zstd, keep_zstd) {
            (true, false) => Self::Unpack(zstd::stream::write::Decoder::new(file)?),
            (false, true) => {
                Self::Pack(zstd::stream::write::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?)
            }
            (true, true) | (false, false) => Self::Plain(file),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Unpack(decoder) => decoder.write_all(bytes),
            Self::Pack(encoder) => encoder.write_all(bytes),
        }
    }

    /// What has reached the file so far.
    fn written(&self) -> io::Result<u64> {
        let mut file = match self {
            Self::Plain(file) => file,
            Self::Unpack(decoder) => decoder.get_ref(),
            Self::Pack(encoder) => encoder.get_ref(),
        };
        file.stream_position()
    }

    fn finish(self) -> io::Result<File> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Unpack(mut decoder) => {
                decoder.flush()?;
                Ok(decoder.into_inner())
            }
            Self::Pack(encoder) => encoder.finish(),
        }
    }
}

fn is_zstd(file: &Path) -> bool {
    file.extension().is_some_and(|it| it == "zst")
}

fn with_suffix(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A new name is on disk when its directory is.
fn sync_directory(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
