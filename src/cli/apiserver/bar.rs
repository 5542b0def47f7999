//! The bar of an evacuation, for whoever looks on at a terminal. The log goes on above it.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use larder_apiserver::transfer::Progress;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// Between two drawings.
const DRAWN: Duration = Duration::from_millis(100);

/// A bar, if standard error is a terminal.
pub(super) fn on_terminal() -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len}  {msg}") {
        bar.set_style(style);
    }
    Some(bar)
}

/// Draws how far it is until every group is moved, and from then on that it is so.
pub(super) async fn draw(bar: ProgressBar, mut progress: watch::Receiver<Progress>) {
    let began = Instant::now();
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        bar.set_length(now.done() + now.left());
        bar.set_position(now.done());
        bar.set_message(message(&now, began.elapsed()));
        sleep(DRAWN).await;
    }
    bar.finish();
}

/// What stands behind the bar.
fn message(now: &Progress, took: Duration) -> String {
    let failed = if now.errors > 0 { format!("  {} failed", now.errors) } else { String::new() };
    if now.open.is_empty() {
        return format!("everything is moved{failed}; the server may be ended");
    }
    let rate = now.handled() as f64 / took.as_secs_f64().max(1.0);
    let what = if now.steps.is_empty() { "asking the cluster".to_owned() } else { now.phases() };
    let stays = if now.stays > 0 { format!("  {} stay", now.stays) } else { String::new() };
    format!("{rate:.0}/s  {what}{stays}{failed}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use larder_apiserver::transfer::{Phase, Step};

    use super::*;

    #[test]
    fn the_bar_says_what_is_going_on() {
        let mut now = Progress { open: BTreeSet::from(["g".to_owned()]), ..Progress::default() };
        let after = |now: &Progress| message(now, Duration::from_secs(10));
        assert_eq!(after(&now), "0/s  asking the cluster");
        now.steps.insert("a.g".to_owned(), Step { phase: Phase::Copying, done: 30, left: 70 });
        now.steps.insert("b.g".to_owned(), Step { phase: Phase::Done, done: 0, left: 0 });
        (now.copied, now.stays, now.errors) = (30, 2, 1);
        assert_eq!(after(&now), "3/s  a.g copying  2 stay  1 failed");
        now.open.clear();
        assert_eq!(after(&now), "everything is moved  1 failed; the server may be ended");
    }
}
