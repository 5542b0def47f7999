//! What requests may take: how many at a time, how long, and how much memory their bodies may hold together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::options::{Query, duration};
use super::status::Refusal;

/// How much of a body that is too long is read all the same, and for how long.
const DISCARDED: usize = 16 << 20;
const DISCARDING: Duration = Duration::from_secs(2);

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
    _share: OwnedSemaphorePermit,
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
    pub(super) async fn receive(&self, body: Body) -> Result<Received, Refusal> {
        let most = self.limits.body;
        let too_large = || Refusal::too_large(format!("Request entity too large: limit is {most}"));
        let mut body = body;
        let hint = body.size_hint();
        if hint.lower() > most as u64 {
            discard(&mut body).await;
            return Err(too_large());
        }
        // Whose length is not told may be as long as any.
        let length = hint.upper().map_or(most, |it| usize::try_from(it).map_or(most, |it| it.min(most)));
        let share = u32::try_from(length.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let share = Arc::clone(&self.bodies).acquire_many_owned(share).await;
        let share = share.map_err(Refusal::internal)?;
        match Limited::new(&mut body, most).collect().await {
            Ok(read) => Ok(Received { bytes: read.to_bytes(), _share: share }),
            Err(error) if error.is::<LengthLimitError>() => {
                drop(share);
                discard(&mut body).await;
                Err(too_large())
            }
            Err(error) => {
                Err(Refusal::bad_request(format!("the body of the request could not be read: {error}")))
            }
        }
    }
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

    type BoxedNever = std::convert::Infallible;
}
