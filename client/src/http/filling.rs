//! A connection that is read until a buffer is full.
//!
//! TLS gives one record at a time, 16 KiB at most. A long answer would be handed from task to task in as many pieces, each with a wake-up that
//! takes longer than the piece.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `inner`, from which one read takes all that is there.
pub(super) struct Filling<T> {
    inner: T,
    /// What went wrong behind bytes that were there.
    failed: Option<io::Error>,
}

impl<T> Filling<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, failed: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Filling<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let nothing = buffer.filled().len();
        loop {
            let before = buffer.filled().len();
            let read = Pin::new(&mut self.inner).poll_read(context, buffer);
            match read {
                Poll::Ready(Ok(())) if buffer.filled().len() > before && buffer.remaining() > 0 => {}
                // Who waits is woken once there is more; until then there is something to do.
                Poll::Pending if before > nothing => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) if before > nothing => {
                    self.failed = Some(error);
                    return Poll::Ready(Ok(()));
                }
                other => return other,
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Filling<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Gives what is in it, one piece a read.
    struct Pieces(VecDeque<Poll<io::Result<&'static [u8]>>>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                Some(Poll::Ready(Ok(piece))) => buffer.put_slice(piece),
                Some(Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
                Some(Poll::Pending) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => {}
            }
            Poll::Ready(Ok(()))
        }
    }

    async fn reads(pieces: impl IntoIterator<Item = Poll<io::Result<&'static [u8]>>>) -> Vec<String> {
        let mut filling = Filling::new(Pieces(pieces.into_iter().collect()));
        let (mut reads, mut buffer) = (Vec::new(), [0; 6]);
        loop {
            let read = filling.read(&mut buffer).await;
            let last = !matches!(read, Ok(1..));
            reads.push(match read {
                Ok(length) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
                Err(error) => error.kind().to_string(),
            });
            if last {
                return reads;
            }
        }
    }

    #[tokio::test]
    async fn a_read_takes_what_is_there() {
        let piece = |text: &'static str| Poll::Ready(Ok(text.as_bytes()));
        assert_eq!(reads([piece("ab"), piece("cd"), piece("ef"), piece("g")]).await, ["abcdef", "g", ""]);
        assert_eq!(reads([piece("ab"), Poll::Pending, piece("cd")]).await, ["ab", "cd", ""]);
        assert_eq!(reads([Poll::Pending, piece("ab")]).await, ["ab", ""]);
        let broken = || Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        assert_eq!(reads([piece("ab"), broken()]).await, ["ab", "connection reset"]);
        assert_eq!(reads([broken()]).await, ["connection reset"]);
    }
}
