//! Reads what a page of vulnerabilities is made of, in one snapshot: all that was found on the assets in question; or who they are, what is pending and
//! retired, then the blocks of all segments side by side.

use std::collections::HashMap;

use larder_wire::{Request, Statement};

use super::Questions;
use super::filter::{AssetFilter, Condition, View};
use super::names::Names;
use super::page::Picker;
use super::plan::{Plan, Selection};
use super::vulnerabilities::{VulnerabilityOrder, VulnerabilityPage, VulnerabilityQuery};
use crate::database::Rows;
use crate::reports::index::block::Unpacker;
use crate::reports::index::entry::{Entry, KINDS};
use crate::reports::index::fields::{Fields, from_sql};
use crate::reports::index::forward::Forward;
use crate::reports::index::inverter::Inverter;
use crate::reports::index::merger::{Batch, Merger};
use crate::reports::index::traits::Ratings;
use crate::reports::index::{IndexError, Kind};

/// What a row of the stream is, in the order in which they come.
const NAME: i64 = 0;
const SELECTED: i64 = 1;
const FINDINGS: i64 = 2;
const PENDING: i64 = 3;
const RETIRED: i64 = 4;
const SEGMENT: i64 = 5;
const BLOCK: i64 = 6;

/// Reports that no segment has yet. Findings are the last column that is read before payloads.
const UNFOLDED: &str = "SELECT 3, id, class, findings FROM report \
                        WHERE id > (SELECT value FROM counter WHERE name = 'indexed') AND findings IS NOT NULL ORDER BY id";
/// Blocks in order of what is in them. The plus keeps the engine from reading them segment by segment and sorting them afterwards.
const SUMMARIES: &str = "SELECT 6, segment, first, summary FROM block \
                         WHERE +segment IN (SELECT id FROM segment WHERE live = 1) ORDER BY first, segment";
const POSTINGS: &str = "SELECT 6, segment, first, summary, postings FROM block \
                        WHERE +segment IN (SELECT id FROM segment WHERE live = 1) ORDER BY first, segment";

impl Questions {
    /// A page of vulnerabilities over all assets, and what there is on all pages together.
    ///
    /// # Errors
    /// Any [`IndexError`].
    pub async fn vulnerabilities(&self, query: &VulnerabilityQuery) -> Result<VulnerabilityPage, IndexError> {
        let plan = self.plan(&query.assets).await?;
        let condition = match plan {
            Plan::Few => query.assets.condition(),
            // Kinds are told apart by the counts, so that what is said of a vulnerability is the same in every view.
            Plan::All | Plan::Many => AssetFilter { view: View::All, ..query.assets.clone() }.condition(),
        };
        let mut rows = self.database.stream(&Request::new(statements(query, plan, &condition))).await?;
        let mut reading = Reading::new(plan, condition, query.assets.view)?;
        let mut row = rows.next().await?;
        while let Some(values) = row {
            let mut fields = Fields::new(values);
            let tag = fields.integer()?;
            if tag == BLOCK {
                return self.count(query, reading, rows, fields).await;
            }
            reading.take(tag, &mut fields)?;
            row = rows.next().await?;
        }
        reading.begin();
        self.finish(query, reading).await
    }

    /// Goes through the blocks, of which the first has come.
    async fn count(
        &self,
        query: &VulnerabilityQuery,
        mut reading: Reading,
        mut rows: Box<dyn Rows>,
        first: Fields,
    ) -> Result<VulnerabilityPage, IndexError> {
        reading.begin();
        let names = std::mem::take(&mut reading.names);
        let mut picker = Picker::new(query, &names);
        let mut block = Some(first);
        while let Some(fields) = block {
            reading.block(fields, &mut picker, &names)?;
            block = rows.next().await?.map(Fields::new);
            if let Some(next) = &mut block
                && next.integer()? != BLOCK
            {
                return Err(IndexError::Shape("a row came out of order"));
            }
        }
        reading.drain(None, &mut picker, &names);
        self.named(picker, &reading.ratings, names).await
    }

    /// Where there are no blocks.
    async fn finish(
        &self,
        query: &VulnerabilityQuery,
        mut reading: Reading,
    ) -> Result<VulnerabilityPage, IndexError> {
        let names = std::mem::take(&mut reading.names);
        let mut picker = Picker::new(query, &names);
        reading.drain(None, &mut picker, &names);
        self.named(picker, &reading.ratings, names).await
    }

    async fn named(
        &self,
        picker: Picker<'_>,
        ratings: &Ratings,
        mut names: Names,
    ) -> Result<VulnerabilityPage, IndexError> {
        names.complete(&*self.database, picker.ids()).await?;
        picker.finish(ratings, &names)
    }
}

fn statements(query: &VulnerabilityQuery, plan: Plan, condition: &Condition) -> Vec<Statement> {
    let mut statements = Vec::new();
    if query.order == VulnerabilityOrder::Name || query.quick.is_some() {
        statements.push(Statement::new("SELECT 0, id, name FROM vulnerability_name"));
    }
    let condition_of = |columns: &str| {
        Statement::with(
            format!("SELECT {columns} FROM report WHERE {}", condition.sql),
            condition.values.clone(),
        )
    };
    match plan {
        Plan::All => {
            statements.push(Statement::new("SELECT 4, report, class, findings FROM retired ORDER BY report"));
        }
        Plan::Few => {
            let mut own = condition_of("2, id, class, findings");
            own.sql.push_str(" AND findings IS NOT NULL ORDER BY id");
            statements.push(own);
            return statements;
        }
        Plan::Many => statements.push(condition_of("1, id, class, key")),
    }
    statements.push(Statement::new(UNFOLDED));
    statements.push(Statement::new("SELECT 5, id FROM segment WHERE live = 1 ORDER BY low"));
    statements.push(Statement::new(if plan == Plan::Many { POSTINGS } else { SUMMARIES }));
    statements
}

/// What was read so far.
struct Reading {
    plan: Plan,
    condition: Condition,
    view: View,
    names: Names,
    ratings: Ratings,
    forward: Forward,
    unpacker: Unpacker,
    selection: Selection,
    /// Findings that count, findings that only say what vulnerabilities are, and findings that are subtracted.
    counting: Inverter,
    telling: Inverter,
    retired: Inverter,
    segments: HashMap<i64, usize>,
    merger: Merger,
    subtracted: std::iter::Peekable<std::vec::IntoIter<Entry>>,
    reports: Vec<u64>,
}

impl Reading {
    fn new(plan: Plan, condition: Condition, view: View) -> std::io::Result<Self> {
        Ok(Self {
            plan,
            condition,
            view,
            names: Names::default(),
            ratings: Ratings::new(),
            forward: Forward::default(),
            unpacker: Unpacker::new()?,
            selection: Selection::default(),
            counting: Inverter::default(),
            telling: Inverter::default(),
            retired: Inverter::default(),
            segments: HashMap::new(),
            merger: Merger::new(0),
            subtracted: Vec::new().into_iter().peekable(),
            reports: Vec::new(),
        })
    }

    /// Takes a row that comes before the blocks.
    fn take(&mut self, tag: i64, row: &mut Fields) -> Result<(), IndexError> {
        match tag {
            NAME => self.names.add(row),
            SEGMENT => {
                // The first two sources are what is laid over the segments.
                let source = self.segments.len() + 2;
                self.segments.insert(row.integer()?, source);
                Ok(())
            }
            SELECTED => {
                let (id, class) = (row.integer()?, row.text()?);
                if self.condition.admits(&row.text()?) {
                    self.selection.insert(id.cast_unsigned(), Kind::of_class(&class));
                }
                Ok(())
            }
            FINDINGS | PENDING | RETIRED => self.note(tag, row),
            _ => Err(IndexError::Shape("a row came that nobody asked for")),
        }
    }

    fn note(&mut self, tag: i64, row: &mut Fields) -> Result<(), IndexError> {
        let (id, class, findings) = (row.integer()?, row.text()?, row.blob()?);
        let number = id.cast_unsigned();
        let counts = tag != PENDING || self.plan == Plan::All || self.selection.get(number).is_some();
        let inverter = match tag {
            RETIRED => &mut self.retired,
            _ if counts => &mut self.counting,
            _ => &mut self.telling,
        };
        inverter.report(number, Kind::of_class(&class));
        self.forward.read(id, &findings, &mut self.ratings, |mark, rating| inverter.mark(mark, rating))
    }

    /// Sorts what came before the blocks.
    fn begin(&mut self) {
        self.names.sort();
        self.merger = Merger::new(self.segments.len() + 2);
        let finish = |inverter: &mut Inverter, ratings: &Ratings| {
            let batch = std::mem::take(inverter).finish(ratings);
            Batch { entries: batch.entries, reports: Vec::new() }
        };
        self.merger.push(0, finish(&mut self.counting, &self.ratings));
        let mut telling = finish(&mut self.telling, &self.ratings);
        telling.entries.iter_mut().for_each(|it| it.counts = [0; KINDS]);
        self.merger.push(1, telling);
        self.subtracted = finish(&mut self.retired, &self.ratings).entries.into_iter().peekable();
    }

    fn block(&mut self, mut row: Fields, picker: &mut Picker<'_>, names: &Names) -> Result<(), IndexError> {
        let (segment, first, summary) = (row.integer()?, from_sql(row.integer()?), row.blob()?);
        let source = *self.segments.get(&segment).ok_or(IndexError::Shape("a block of no segment came"))?;
        let damaged = || IndexError::block(segment, first);
        let mut entries = self.unpacker.summary(first, &summary, &mut self.ratings).map_err(damaged())?;
        match self.plan {
            Plan::All | Plan::Few => {}
            Plan::Many => {
                let mut counts = vec![[0; KINDS]; entries.len()];
                let selection = &self.selection;
                let read = self.unpacker.postings(&row.blob()?, &entries, |entry, report| {
                    if let Some(kind) = selection.get(report) {
                        counts[entry][kind] += 1;
                    }
                });
                read.map_err(damaged())?;
                entries.iter_mut().zip(counts).for_each(|(entry, counts)| entry.counts = counts);
            }
        }
        self.drain(Some(first), picker, names);
        self.merger.push(source, Batch { entries, reports: Vec::new() });
        Ok(())
    }

    /// Hands on every vulnerability below `limit`: no block that is still to come has it.
    fn drain(&mut self, limit: Option<u64>, picker: &mut Picker<'_>, names: &Names) {
        while let Some(mut entry) = self.merger.next(limit, &self.ratings, &mut self.reports) {
            self.subtract(&mut entry);
            for kind in Kind::ALL {
                if !self.view.admits(kind) {
                    entry.counts[kind as usize] = 0;
                }
            }
            picker.look(&entry, &self.ratings, names);
        }
    }

    fn subtract(&mut self, entry: &mut Entry) {
        while let Some(dead) = self.subtracted.next_if(|it| it.id <= entry.id) {
            if dead.id == entry.id {
                for (count, dead) in entry.counts.iter_mut().zip(dead.counts) {
                    *count = count.saturating_sub(dead);
                }
            }
        }
    }
}
