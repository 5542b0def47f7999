//! Transactions on files, all or nothing whenever the process or the machine stops.
//!
//! 1. The values are written beside their places and brought to disk.
//! 2. `state` is replaced by one that names the transaction and its changes. From then on it is done.
//! 3. The values are moved to their places, and what is deleted is removed.
//!
//! Whoever finds a `state` whose third step it did not do itself does it again, which changes nothing where it was done.
//! The revision of a key is that of the transaction that wrote it, kept before the value.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::{Entry, Operation, Revision};
use super::layout::Layout;

/// What a file of a value begins with.
const MAGIC: [u8; 4] = *b"LKV1";

/// The last transaction.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) revision: u64,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Put { key: String, from: String },
    Delete { key: String },
}

/// Why a transaction came to nothing, or perhaps did not.
#[derive(Debug)]
pub(super) enum Fault {
    /// It was given up before it was done.
    Before(io::Error),
    /// It is done, or may be: what is missing is done by the next who comes.
    After(io::Error),
}

pub(super) fn read_state(layout: &Layout) -> io::Result<State> {
    serde_json::from_slice(&fs::read(layout.state())?).map_err(io::Error::from)
}

/// Does a transaction whose conditions hold. The lock is held.
pub(super) fn write(layout: &Layout, revision: u64, operations: &[Operation]) -> Result<(), Fault> {
    let state = prepare(layout, revision, operations).and_then(|state| {
        write_state(layout, &state)?;
        Ok(state)
    });
    let state = state.map_err(|error| {
        let _ = clear_arrivals(layout);
        Fault::Before(error)
    })?;
    step();
    fs::rename(layout.next_state(), layout.state()).map_err(Fault::After)?;
    step();
    sync_dir(layout.root()).map_err(Fault::After)?;
    step();
    apply(layout, &state).map_err(Fault::After)
}

/// The first step.
fn prepare(layout: &Layout, revision: u64, operations: &[Operation]) -> io::Result<State> {
    let mut changes = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        let key = operation.key().to_owned();
        match operation {
            Operation::Put { value, .. } => {
                let from = format!("{revision}-{number}");
                write_value(&layout.arriving().join(&from), revision, value)?;
                step();
                changes.push(Change::Put { key, from });
            }
            Operation::Delete { .. } => changes.push(Change::Delete { key }),
            Operation::Check { .. } => {}
        }
    }
    sync_dir(&layout.arriving())?;
    Ok(State { revision, changes })
}

fn write_value(path: &Path, revision: u64, value: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&MAGIC)?;
    file.write_all(&revision.to_be_bytes())?;
    file.write_all(value)?;
    file.sync_all()
}

/// The state as it will be, beside the one that holds.
fn write_state(layout: &Layout, state: &State) -> io::Result<()> {
    let mut file = File::create(layout.next_state())?;
    file.write_all(&serde_json::to_vec(state)?)?;
    file.sync_all()
}

/// The third step, as often as it takes.
pub(super) fn apply(layout: &Layout, state: &State) -> io::Result<()> {
    let mut touched = BTreeSet::new();
    for change in &state.changes {
        let (Change::Put { key, .. } | Change::Delete { key }) = change;
        let place = layout.file(key);
        let done = match change {
            Change::Put { from, .. } => {
                make_folders(layout, &place)?;
                fs::rename(layout.arriving().join(from), &place)
            }
            Change::Delete { .. } => fs::remove_file(&place),
        };
        step();
        match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        touched.extend(place.parent().map(Path::to_owned));
    }
    for folder in touched {
        match sync_dir(&folder) {
            // A key that was deleted need not have had a folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        step();
    }
    Ok(())
}

/// The folders of a long name. They stay when it is gone.
fn make_folders(layout: &Layout, place: &Path) -> io::Result<()> {
    let keys = layout.keys();
    let missing: Vec<_> = place.ancestors().skip(1).take_while(|it| *it != keys && !it.is_dir()).collect();
    for folder in missing.iter().rev() {
        fs::create_dir(folder)?;
        folder.parent().map_or(Ok(()), sync_dir)?;
    }
    Ok(())
}

/// Removes the values of transactions that came to nothing.
pub(super) fn clear_arrivals(layout: &Layout) -> io::Result<()> {
    for left in fs::read_dir(layout.arriving())? {
        fs::remove_file(left?.path())?;
    }
    Ok(())
}

/// Makes the place for a store: its folders, and the file that is locked.
pub(super) fn make_room(layout: &Layout) -> io::Result<()> {
    for folder in [layout.root().to_owned(), layout.arriving(), layout.keys()] {
        make_private(&folder)?;
    }
    File::options().create(true).append(true).open(layout.lock()).map(drop)
}

/// Makes an empty store, if there is none, in a way that a crash leaves either none or a whole one. The lock is held.
pub(super) fn found(layout: &Layout) -> io::Result<()> {
    if !layout.state().exists() {
        write_state(layout, &State::default())?;
        fs::rename(layout.next_state(), layout.state())?;
    }
    sync_dir(layout.root())
}

fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// The value of a key.
pub(super) fn read(layout: &Layout, key: &str) -> io::Result<Option<Entry>> {
    let Some((revision, mut file)) = open(layout, key)? else { return Ok(None) };
    let mut value = Vec::new();
    file.read_to_end(&mut value)?;
    Ok(Some(Entry { value: Bytes::from(value), revision }))
}

/// When a key was written.
pub(super) fn revision(layout: &Layout, key: &str) -> io::Result<Option<Revision>> {
    Ok(open(layout, key)?.map(|(revision, _)| revision))
}

fn open(layout: &Layout, key: &str) -> io::Result<Option<(Revision, File)>> {
    let mut file = match File::open(layout.file(key)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let (mut magic, mut revision) = ([0; 4], [0; 8]);
    file.read_exact(&mut magic)?;
    file.read_exact(&mut revision)?;
    if magic != MAGIC {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{key:?} is kept in a file of another kind"),
        ));
    }
    Ok(Some((Revision(u64::from_be_bytes(revision)), file)))
}

fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Marks a place where the process may stop.
#[cfg(not(test))]
fn step() {}

#[cfg(test)]
use super::tests::step;
