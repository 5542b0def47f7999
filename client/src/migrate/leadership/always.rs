//! The lead of somebody who is alone.

use async_trait::async_trait;
use tokio::sync::watch;

use super::{Leader, Leadership, NotLeading};

/// Leads, always: for a single controller, and for the command line, where a person answers for it.
#[derive(Debug)]
pub struct Always(watch::Sender<Leader>);

impl Default for Always {
    fn default() -> Self {
        Self(watch::Sender::new(Leader::Me))
    }
}

#[async_trait]
impl Leadership for Always {
    fn leader(&self) -> watch::Receiver<Leader> {
        self.0.subscribe()
    }

    async fn confirm(&self) -> Result<(), NotLeading> {
        if *self.0.borrow() == Leader::Me { Ok(()) } else { Err(NotLeading::Deposed(None)) }
    }

    async fn resign(&self) {
        self.0.send_replace(Leader::Unknown);
    }
}
