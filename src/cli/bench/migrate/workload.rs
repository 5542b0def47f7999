//! The reports that are moved, as NeuVector keeps them in Consul: a value and a state for each, every one different.

use anyhow::ensure;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::ValueEnum;
use larder_client::reports::Report;
use larder_client::reports::generate::Generator;

/// Which reports, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Name {
    /// 1000 reports of 142 findings
    A,
    /// 1000 reports of 1371 findings
    B,
    /// 10,000 reports of 1371 findings
    C,
}

impl Name {
    pub(super) fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
            Self::C => 'C',
        }
    }

    /// Reports, and findings in each.
    pub(super) fn extent(self, quick: bool) -> (u64, usize) {
        let few = |count| if quick { count / 100 } else { count };
        match self {
            Self::A => (few(1000), 142),
            Self::B => (few(1000), 1371),
            Self::C => (few(10_000), 1371),
        }
    }
}

/// One report.
pub(super) struct Item {
    pub(super) report: Report,
    /// The key of its value.
    pub(super) value: String,
    state: (String, Vec<u8>),
}

impl Item {
    /// What Consul is told to keep: keys and values.
    fn entries(&self) -> [(&str, &[u8]); 2] {
        [(&self.value, &self.report.payload), (&self.state.0, &self.state.1)]
    }
}

/// All reports of a workload.
pub(super) struct Workload {
    pub(super) name: Name,
    pub(super) findings: usize,
    pub(super) items: Vec<Item>,
}

impl Workload {
    /// Makes them, on all processors.
    pub(super) fn make(name: Name, quick: bool) -> anyhow::Result<Self> {
        let (count, findings) = name.extent(quick);
        let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let part = count.div_ceil(threads);
        let make = |first: u64| {
            (first..count.min(first + part)).map(|n| item(n, findings)).collect::<Result<_, _>>()
        };
        let parts: Vec<anyhow::Result<Vec<Item>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|it| scope.spawn(move || make(it * part))).collect();
            threads.into_iter().map(|it| it.join().unwrap_or_else(|_| Ok(Vec::new()))).collect()
        });
        let mut items = Vec::new();
        for part in parts {
            items.append(&mut part?);
        }
        ensure!(items.len() as u64 == count, "not all reports were made");
        Ok(Self { name, findings, items })
    }

    /// The one with the targets that are times.
    pub(super) fn is_largest(&self) -> bool {
        self.name == Name::C
    }

    /// Bytes of all payloads.
    pub(super) fn bytes(&self) -> u64 {
        self.items.iter().map(|it| it.report.payload.len() as u64).sum()
    }

    /// Transactions of Consul that write everything, as JSON.
    pub(super) fn transactions(&self) -> Vec<Vec<u8>> {
        /// Below `txn_max_req_len`, and what Consul takes in one transaction.
        const LIMIT: (usize, usize) = (500 << 10, 64);
        let mut transactions = Vec::new();
        let (mut body, mut entries) = (Vec::new(), 0);
        for (key, value) in self.items.iter().flat_map(Item::entries) {
            let value = BASE64_STANDARD.encode(value);
            let entry =
                serde_json::json!({ "KV": { "Verb": "set", "Key": key, "Value": value } }).to_string();
            if entries == LIMIT.1 || (entries > 0 && body.len() + entry.len() > LIMIT.0) {
                body.push(b']');
                transactions.push(std::mem::take(&mut body));
                entries = 0;
            }
            body.push(if entries == 0 { b'[' } else { b',' });
            body.extend_from_slice(entry.as_bytes());
            entries += 1;
        }
        body.push(b']');
        transactions.push(body);
        transactions
    }
}

fn item(n: u64, findings: usize) -> anyhow::Result<Item> {
    let report = Generator::new(1).report(n, findings);
    let key = report.key.as_str();
    let (value, state) = match report.key.class() {
        "image" => (format!("scan/data/{key}"), format!("scan/state/{key}")),
        _ => (format!("scan/data/report/{key}"), format!("scan/state/report/{key}")),
    };
    let state = (state, Generator::state(&report));
    Ok(Item { value, state, report })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_one_transaction() {
        let workload = Workload::make(Name::C, true).unwrap();
        let transactions = workload.transactions();
        assert!(transactions.len() > 1);
        let mut entries = 0;
        for body in transactions {
            assert!(body.len() <= 512 << 10, "{}", body.len());
            let parsed: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
            assert!(parsed.len() <= 64);
            entries += parsed.len();
        }
        assert_eq!(entries, 2 * workload.items.len());
    }
}
