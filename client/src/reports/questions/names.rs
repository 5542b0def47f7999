//! Names of vulnerabilities whose numbers do not spell them.

use std::collections::HashMap;

use larder_wire::{Request, Statement};

use crate::database::Database;
use crate::reports::VulnerabilityId;
use crate::reports::index::IndexError;
use crate::reports::index::fields::{Fields, json, rows};

/// Names that were read, and where they stand among each other.
#[derive(Debug, Default)]
pub(super) struct Names {
    sorted: Vec<(String, u64)>,
    places: HashMap<u64, usize>,
}

/// Every CVE has a smaller number; every other name has one from here on, by its place.
const OTHERS: i64 = 1 << 62;

impl Names {
    /// Adds a row of `vulnerability_name`.
    pub(super) fn add(&mut self, row: &mut Fields) -> Result<(), IndexError> {
        let id = row.integer()?.cast_unsigned();
        self.sorted.push((row.text()?, id));
        Ok(())
    }

    /// Sorts them, once all were added.
    pub(super) fn sort(&mut self) {
        self.sorted.sort_unstable();
        self.places = self.sorted.iter().enumerate().map(|(place, (_, id))| (*id, place)).collect();
    }

    /// A number by which vulnerabilities are sorted as their names are. Between two others there is room for one that is not here.
    pub(super) fn place(&self, id: u64) -> i64 {
        let other = || self.places.get(&id).map_or(i64::MAX, |&place| OTHERS + 2 * place as i64 + 1);
        if id >> 63 == 0 { id.cast_signed() } else { other() }
    }

    /// The same for a name that was on a page before, and may be gone.
    pub(super) fn place_of_name(&self, name: &str) -> i64 {
        match self.sorted.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
            Ok(place) => OTHERS + 2 * place as i64 + 1,
            Err(place) => OTHERS + 2 * place as i64,
        }
    }

    /// The name of a vulnerability.
    pub(super) fn name(&self, id: u64) -> Option<String> {
        let known = || self.places.get(&id).map(|&place| self.sorted[place].0.clone());
        VulnerabilityId::from_number(id).name().or_else(known)
    }

    /// Reads those of these names that are not here and that numbers do not spell.
    pub(super) async fn complete(
        &mut self,
        database: &dyn Database,
        ids: impl Iterator<Item = u64>,
    ) -> Result<(), IndexError> {
        let missing: Vec<i64> = ids.filter(|&id| self.name(id).is_none()).map(u64::cast_signed).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let sql = "SELECT id, name FROM vulnerability_name WHERE id IN (SELECT value FROM json_each(?))";
        let mut response = database.query(&Request::new([Statement::with(sql, [json(missing)])])).await?;
        let reply = response.results.first_mut().ok_or(IndexError::Shape("a result is missing"))?;
        rows(reply).try_for_each(|mut row| self.add(&mut row))?;
        self.sort();
        Ok(())
    }
}
