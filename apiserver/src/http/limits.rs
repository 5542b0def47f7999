//! What requests may take: how many at a time, how long, and how much memory their bodies may hold together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::options::{Query, duration};
use super::status::Refusal;

/// How much of a body that is too long is read all the same, and for how long.
const DISCARDED: usize = 16 << 20;
const DISCARDING: Duration = Duration::from_secs(2);

/// How long a sender may be silent in the midst of a body.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a body waits for memory that others hold. They may wait for each other, so one has to give up.
const CROWDED: Duration = Duration::from_secs(1);

/// What requests may take.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Requests at the same time that change nothing; watches are not counted.
    pub reads: usize,
    /// Requests at the same time that do.
    pub writes: usize,
    /// The longest body.
    pub body: usize,
    /// All bodies that are being worked on together.
    pub body_memory: usize,
    /// How long a request may take, unless it asks for less.
    pub timeout: Duration,
    /// How long a write may take.
    pub write_timeout: Duration,
    /// How often a watch that is told nothing is told how far it is, if it wants to know.
    pub bookmarks: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            reads: 400,
            writes: 200,
            body: 3 << 20,
            body_memory: 64 << 20,
            timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(34),
            bookmarks: Duration::from_secs(60),
        }
    }
}

/// What is left of it.
pub(super) struct Budget {
    limits: RequestLimits,
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    /// In KiB.
    bodies: Arc<Semaphore>,
}

/// A body, and its share of the memory for bodies: it is given back when this is dropped.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    _share: Share,
}

/// A share of the memory for bodies, which grows with what has arrived: who announces much and sends nothing holds nothing.
struct Share {
    bodies: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Takes as much as a body of so many bytes needs.
    async fn grow_to(&mut self, bytes: usize) -> Result<(), Refusal> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from(bytes.div_ceil(1 << 10).saturating_sub(held)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let taken = timeout(CROWDED, Arc::clone(&self.bodies).acquire_many_owned(more)).await;
        let taken = taken.map_err(|_| Refusal::too_many())?.map_err(Refusal::internal)?;
        match &mut self.held {
            Some(held) => held.merge(taken),
            None => self.held = Some(taken),
        }
        Ok(())
    }
}

impl Budget {
    pub(super) fn new(limits: RequestLimits) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self {
            reads: semaphore(limits.reads),
            writes: semaphore(limits.writes),
            bodies: semaphore(limits.body_memory.max(limits.body) >> 10),
            limits,
        }
    }

    /// How often a quiet watch is told how far it is.
    pub(super) fn bookmarks(&self) -> Duration {
        self.limits.bookmarks
    }

    /// A place among the requests that are done at the moment.
    pub(super) fn place(&self, is_read: bool) -> Result<OwnedSemaphorePermit, Refusal> {
        let places = if is_read { &self.reads } else { &self.writes };
        Arc::clone(places).try_acquire_owned().map_err(|_| Refusal::too_many())
    }

    /// How long a request may take: what it asks for (`?timeout=`), and not more than all may.
    pub(super) fn patience(&self, query: &Query, is_read: bool) -> Result<Duration, Refusal> {
        let most =
            if is_read { self.limits.timeout } else { self.limits.timeout.min(self.limits.write_timeout) };
        let Some(text) = query.set("timeout") else { return Ok(most) };
        let asked = duration(text).ok_or_else(|| {
            let quoted = crate::field::quote(text);
            Refusal::bad_request(format!(
                "invalid timeout specified in the request URL - time: invalid duration {quoted}"
            ))
        })?;
        Ok(if asked.is_zero() { most } else { asked.min(most) })
    }

    /// Reads a body to its end.
    pub(super) async fn receive(&self, mut body: Body) -> Result<Received, Refusal> {
        let most = self.limits.body;
        if body.size_hint().lower() > most as u64 {
            return Err(too_large(most, &mut body).await);
        }
        let mut share = Share { bodies: Arc::clone(&self.bodies), held: None };
        let mut bytes = Vec::new();
        while let Some(piece) = next_piece(&mut body).await? {
            let length = bytes.len() + piece.len();
            if length > most {
                drop((share, bytes));
                return Err(too_large(most, &mut body).await);
            }
            share.grow_to(length).await?;
            bytes.extend_from_slice(&piece);
        }
        Ok(Received { bytes: bytes.into(), _share: share })
    }
}

/// What comes next of a body; `None` at its end.
async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    let unreadable = |why: &dyn std::fmt::Display| {
        Refusal::bad_request(format!("the body of the request could not be read: {why}"))
    };
    loop {
        let frame = timeout(SILENCE, body.frame()).await;
        match frame.map_err(|_| unreadable(&format_args!("nothing came for {} s", SILENCE.as_secs())))? {
            None => return Ok(None),
            Some(Err(error)) => return Err(unreadable(&error)),
            // Trailers mean nothing here.
            Some(Ok(frame)) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

async fn too_large(most: usize, body: &mut Body) -> Refusal {
    discard(body).await;
    Refusal::too_large(format!("Request entity too large: limit is {most}"))
}

/// Reads on for a while and keeps nothing. Who is still sending when the connection ends sees that, and not the answer.
async fn discard(body: &mut Body) {
    let read = async {
        let mut left = DISCARDED;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Who takes longer than that learns it the hard way.
    let _ = tokio::time::timeout(DISCARDING, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> Budget {
        Budget::new(RequestLimits { reads: 1, writes: 1, body: 2048, ..RequestLimits::default() })
    }

    #[test]
    fn reads_and_writes_have_places_of_their_own() {
        let budget = budget();
        let _read = budget.place(true).expect("the only place");
        assert_eq!(budget.place(true).map(drop), Err(Refusal::too_many()));
        drop(budget.place(false).expect("a place for writes"));
        assert!(budget.place(false).is_ok());
    }

    #[test]
    fn a_request_may_ask_for_less_time_and_not_for_more() {
        let seconds = |query: &str, is_read| {
            let patience = budget().patience(&Query::parse(Some(query)), is_read);
            patience.map(|it| it.as_secs()).map_err(|it| it.code().as_u16())
        };
        assert_eq!(seconds("", true), Ok(60));
        assert_eq!(seconds("timeout=5s", true), Ok(5));
        assert_eq!(seconds("timeout=2h", true), Ok(60));
        assert_eq!(seconds("timeout=0", true), Ok(60));
        assert_eq!(seconds("timeout=50s", false), Ok(34));
        assert_eq!(seconds("timeout=soon", true), Err(400));
    }

    #[tokio::test]
    async fn bodies_are_bounded_whether_they_tell_their_length_or_not() {
        let budget = budget();
        let long = vec![b' '; 2049];
        let pieces = futures_util::stream::iter(
            long.chunks(100).map(|it| Ok::<_, BoxedNever>(it.to_vec())).collect::<Vec<_>>(),
        );
        for body in [Body::from(long.clone()), Body::from_stream(pieces)] {
            assert_eq!(budget.receive(body).await.map(|_| ()).map_err(|it| it.code().as_u16()), Err(413));
        }
        assert_eq!(budget.receive(Body::from(vec![b' '; 2048])).await.map(|it| it.bytes.len()), Ok(2048));
    }

    #[tokio::test(start_paused = true)]
    async fn who_announces_much_and_sends_nothing_is_in_nobodys_way() {
        let limits = RequestLimits { body: 4096, body_memory: 8192, ..RequestLimits::default() };
        let budget = Arc::new(Budget::new(limits));
        let silent = |first: usize| {
            let first = futures_util::stream::iter([Ok::<_, BoxedNever>(vec![b' '; first])]);
            Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()))
        };
        let begun = tokio::time::Instant::now();
        let stuck: Vec<_> = [1, 1, 1, 4096]
            .map(|first| {
                let (budget, body) = (Arc::clone(&budget), silent(first));
                tokio::spawn(
                    async move { budget.receive(body).await.map(drop).map_err(|it| it.code().as_u16()) },
                )
            })
            .into();
        tokio::task::yield_now().await;
        assert!(budget.receive(Body::from("{}")).await.is_ok());
        assert_eq!(begun.elapsed(), Duration::ZERO);
        // What is not there is not waited for.
        let crowded = budget.receive(Body::from(vec![b' '; 4096])).await;
        assert_eq!(crowded.map(drop).map_err(|it| it.code().as_u16()), Err(429));
        for it in stuck {
            assert_eq!(it.await.expect("ends"), Err(400));
        }
        assert_eq!(begun.elapsed(), SILENCE);
        assert!(budget.receive(Body::from(vec![b' '; 4096])).await.is_ok());
    }

    type BoxedNever = std::convert::Infallible;
}
