//! A thread that looks, at intervals, after what cannot look after itself: statements that do not notice that their
//! time is up, reads that wait behind a thread that is stuck.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::sync::lock;

/// How late help may come.
const PERIOD: Duration = Duration::from_millis(50);

/// Looks at what it was told to watch, as long as it lives.
#[derive(Default)]
pub(crate) struct Watchdog {
    watched: Mutex<Vec<Look>>,
}

/// Looks once; says whether there is still something to look at.
type Look = Box<dyn Fn() -> bool + Send>;

impl Watchdog {
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let watchdog = Arc::new(Self::default());
        let weak = Arc::downgrade(&watchdog);
        let thread = std::thread::Builder::new().name("larder-watchdog".to_owned()).stack_size(64 << 10);
        thread.spawn(move || {
            while let Some(watchdog) = weak.upgrade() {
                lock(&watchdog.watched).retain(|look| look());
                drop(watchdog);
                std::thread::sleep(PERIOD);
            }
        })?;
        Ok(watchdog)
    }

    /// Calls `look` at intervals until `what` is gone.
    pub(crate) fn watch<T: Send + Sync + 'static>(&self, what: &Arc<T>, look: fn(&T)) {
        let weak = Arc::downgrade(what);
        let look = move || weak.upgrade().inspect(|what| look(what)).is_some();
        lock(&self.watched).push(Box::new(look));
    }
}
