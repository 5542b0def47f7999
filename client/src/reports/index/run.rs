//! A run: as many reports as fit into memory, turned around into the blocks of a segment.

use larder_wire::{Request, Statement};

use super::IndexError;
use super::aside::aside;
use super::block::Packed;
use super::entry::Kind;
use super::fields::{Fields, number, rows};
use super::forward::Forward;
use super::inverter::Inverter;
use super::traits::Ratings;
use super::writer::BlockWriter;
use crate::database::Database;

/// Findings in a run, at most, unless one report alone has more: 24 bytes each while they are sorted.
pub(super) const FINDINGS: i64 = 256 << 10;
/// Reports that are looked at for the end of a run.
const REPORTS: i64 = 1024;

/// The reports with ids above `low`, up to `high`, turned around.
pub(super) struct Run {
    pub(super) low: i64,
    pub(super) high: i64,
    /// How many they are.
    pub(super) reports: i64,
    pub(super) blocks: Vec<Packed>,
    pub(super) postings: u64,
    /// Reports of the same ids that were retired by then, and are not in the run.
    pub(super) retired: Vec<i64>,
}

/// Where a run ends.
pub(super) struct End {
    /// The id of its last report.
    pub(super) high: i64,
    /// How many findings its reports have.
    pub(super) findings: i64,
}

/// Where a run ends that begins behind `low` and may go to `end`; `None` if there is no report.
pub(super) async fn end(database: &dyn Database, low: i64, end: i64) -> Result<Option<End>, IndexError> {
    let sql =
        "SELECT id, critical + high + medium + low FROM report WHERE id > ? AND id <= ? ORDER BY id LIMIT ?";
    let request = Request::new([Statement::with(sql, [low.into(), end.into(), REPORTS.into()])]);
    let mut response = database.query(&request).await?;
    let reply = response.results.first_mut().ok_or(IndexError::Shape("a result is missing"))?;
    let (mut last, mut findings) = (None, 0);
    for mut row in rows(reply) {
        let (id, more) = (row.integer()?, row.integer()?);
        if last.is_some() && findings + more > FINDINGS {
            break;
        }
        findings += more;
        last = Some(id);
    }
    Ok(last.map(|high| End { high, findings }))
}

/// The greatest id of a report that the index counts.
pub(super) async fn indexed(database: &dyn Database) -> Result<i64, IndexError> {
    let sql = "SELECT value FROM counter WHERE name = 'indexed'";
    let mut response = database.query(&Request::new([Statement::new(sql)])).await?;
    number(response.results.first_mut().ok_or(IndexError::Shape("a result is missing"))?)
}

/// Reads the run in one snapshot.
pub(super) async fn read(
    database: &dyn Database,
    low: i64,
    End { high, findings }: End,
) -> Result<Run, IndexError> {
    let range = || [low.into(), high.into()];
    let request = Request::new([
        Statement::with("SELECT report FROM retired WHERE report > ? AND report <= ?", range()),
        Statement::with(
            "SELECT id, class, findings FROM report WHERE id > ? AND id <= ? ORDER BY id",
            range(),
        ),
    ]);
    let mut stream = database.stream(&request).await?;
    // One report alone may say that it has any number of them.
    let mut inverter = Inverter::with_room_for(findings.clamp(0, FINDINGS) as usize);
    let (mut ratings, mut forward) = (Ratings::new(), Forward::default());
    let (mut reports, mut retired) = (0, Vec::new());
    while let Some(row) = stream.next().await? {
        let one_column = row.len() == 1;
        let mut row = Fields::new(row);
        let id = row.integer()?;
        if one_column {
            retired.push(id);
            continue;
        }
        reports += 1;
        let kind = Kind::of_class(&row.text()?);
        if let Some(findings) = row.optional_blob()? {
            inverter.report(id.cast_unsigned(), kind);
            forward.read(id, &findings, &mut ratings, |mark, rating| inverter.mark(mark, rating))?;
        }
    }
    let (blocks, postings) = aside(move || turn(inverter, &ratings)).await?;
    Ok(Run { low, high, reports, blocks, postings, retired })
}

fn turn(inverter: Inverter, ratings: &Ratings) -> std::io::Result<(Vec<Packed>, u64)> {
    let (mut writer, mut blocks) = (BlockWriter::new()?, Vec::new());
    inverter.each(ratings, |entry, reports| {
        blocks.extend(writer.push(entry, reports, ratings)?);
        Ok::<_, std::io::Error>(())
    })?;
    blocks.extend(writer.flush(ratings)?);
    Ok((blocks, writer.postings))
}
