//! A connection that lets the other side say why it ends.
//!
//! Who refuses a certificate sends an alert and closes, and a write that comes too late fails before the alert was read: then
//! all that is known is a broken pipe. Here such a write is taken and thrown away; what is read next is the reason, or the
//! end, which tells the caller that its call was not answered.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// `inner`, whose end is told by reading alone.
pub(super) struct Telling<T> {
    inner: T,
    broken: bool,
}

impl<T> Telling<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, broken: false }
    }

    /// What a write comes to: `length` bytes are taken if nobody is there to read them.
    fn told<R>(&mut self, written: Poll<io::Result<R>>, taken: R) -> Poll<io::Result<R>> {
        match written {
            Poll::Ready(Err(error)) if is_end(&error) => {
                self.broken = true;
                Poll::Ready(Ok(taken))
            }
            other => other,
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl<T: AsyncRead + Unpin> AsyncRead for Telling<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Telling<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.broken {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.told(written, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        if self.broken {
            return Poll::Ready(Ok(length));
        }
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, parts);
        self.told(written, length)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(context);
        self.told(flushed, ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn what_was_said_before_the_end_is_read_behind_a_write_that_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let client = TcpStream::connect(listener.local_addr().expect("has one")).await.expect("connects");
        let (mut server, _) = listener.accept().await.expect("accepts");
        let mut client = Telling::new(client);
        client.write_all(b"one").await.expect("is there");
        server.write_all(b"go away").await.expect("writes");
        // Closing with bytes unread resets the connection.
        drop(server);
        while !client.broken {
            client.write_all(b"two").await.expect("is taken");
            tokio::task::yield_now().await;
        }
        let mut said = [0; 7];
        client.read_exact(&mut said).await.expect("was said before");
        assert_eq!(&said, b"go away");
        let end = client.read(&mut said).await;
        assert!(!matches!(end, Ok(1..)), "{end:?}");
    }
}
