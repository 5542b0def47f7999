//! Cutting off readers that are stuck, each alone.
//!
//! An answer is made as its reader takes it, so a reader that takes nothing holds a body that nobody asks for more. That body cannot end by
//! itself: it is not polled. So whoever drives it is watched over: the task of its HTTP/2 stream, which [`Cutting`] spawns and drops, which resets
//! that stream and leaves its neighbours on the connection alone; or the connection itself with HTTP/1.1, where it has but one answer at a time.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;

use super::body::BodyError;

tokio::task_local! {
    static PULSE: Pulse;
}

/// When an answer was last given a piece that its reader has not yet made room behind. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    /// Milliseconds since the start of the process, or 0 while nothing is held.
    held_since: Arc<AtomicU64>,
}

impl Pulse {
    fn current() -> Self {
        PULSE.try_with(Clone::clone).unwrap_or_default()
    }

    fn is_asked(&self) {
        self.held_since.store(0, Ordering::Relaxed);
    }

    fn holds(&self) {
        self.held_since.store(now(), Ordering::Relaxed);
    }

    /// Ends once a piece has been held for so long.
    async fn stuck(&self, patience: Duration) {
        let most = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        let mut pause = patience;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.held_since.load(Ordering::Relaxed) {
                0 => patience,
                since => match most.checked_sub(now().saturating_sub(since)) {
                    None | Some(0) => return,
                    Some(left) => Duration::from_millis(left),
                },
            };
        }
    }
}

fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Never 0, which means something else.
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// Drives `answering` until it ends or its reader is stuck; `false` if it was.
pub(super) async fn watched(patience: Duration, answering: impl Future<Output = ()>) -> bool {
    let pulse = Pulse::default();
    PULSE
        .scope(pulse.clone(), async {
            tokio::select! {
                () = answering => true,
                () = pulse.stuck(patience) => false,
            }
        })
        .await
}

/// Spawns what hyper wants to have driven, one task an HTTP/2 stream, and drops those whose readers are stuck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutting(pub(super) Duration);

impl<F> Executor<F> for Cutting
where
    F: Future + Send + 'static,
{
    fn execute(&self, answering: F) {
        let patience = self.0;
        tokio::spawn(async move {
            if !watched(patience, async { drop(answering.await) }).await {
                tracing::info!("an answer was broken off: its reader takes nothing");
            }
        });
    }
}

/// A body whose reader is watched over by the task that polls it.
pub(super) struct Watched<B> {
    body: B,
    pulse: Option<Pulse>,
}

impl<B> Watched<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, pulse: None }
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let pulse = self.pulse.get_or_insert_with(Pulse::current).clone();
        pulse.is_asked();
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            pulse.holds();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Watched<B> {
    /// A connection goes on to the next answer.
    fn drop(&mut self) {
        if let Some(pulse) = &self.pulse {
            pulse.is_asked();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn what_is_asked_for_or_waits_is_not_cut_off() {
        let slow = async { tokio::time::sleep(PATIENCE * 4).await };
        assert!(watched(PATIENCE, slow).await);
    }

    #[tokio::test]
    async fn what_is_held_is_cut_off() {
        let stuck = async {
            Pulse::current().holds();
            std::future::pending().await
        };
        assert!(!watched(PATIENCE, stuck).await);
    }
}
