//! Connections, bounded in number and in patience: whoever reaches the port could else keep the server's files open for ever by saying nothing.
//!
//! A connection on which the server has written nothing for a while is closed: one whose request never comes, comes a byte at a time, or whose
//! reader has gone. Streams of events write a comment every few seconds.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections at once: streams of events, and what browsers hold ready.
const MOST_CONNECTIONS: usize = 1_024;

/// How long the server writes nothing to a connection that it keeps: three comments of a quiet stream.
const PATIENCE: Duration = Duration::from_secs(45);

/// After the system refused a connection (no more open files, say).
const BREATH: Duration = Duration::from_millis(200);

/// Listens, and gives out so many connections at once.
#[derive(Debug)]
pub(super) struct Bounded {
    listener: TcpListener,
    leave: Arc<Semaphore>,
    patience: Duration,
}

impl Bounded {
    pub fn new(listener: TcpListener) -> Self {
        Self::with(listener, MOST_CONNECTIONS, PATIENCE)
    }

    fn with(listener: TcpListener, most: usize, patience: Duration) -> Self {
        Self { listener, leave: Arc::new(Semaphore::new(most)), patience }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Never closed; whoever connects meanwhile waits with the system.
            let leave = Arc::clone(&self.leave).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let patience = Box::pin(tokio::time::sleep(self.patience));
                    return (Connection { stream, ends: patience, patience: self.patience, _leave: leave }, from);
                }
                Err(error) => {
                    tracing::debug!("cannot take a connection: {error}");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing was written to it for too long.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    ends: Pin<Box<Sleep>>,
    patience: Duration,
    _leave: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.ends.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn wrote(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            self.in_time(context)?;
        }
        if ready!(&written).as_ref().is_ok_and(|count| *count > 0) {
            let ends = Instant::now() + self.patience;
            self.ends.as_mut().reset(ends);
        }
        written
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(address: SocketAddr) -> io::Result<String> {
        let mut asking = TcpStream::connect(address).await?;
        asking.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n").await?;
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn who_says_nothing_is_let_go_and_the_next_has_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bounded = Bounded::with(listener, 1, Duration::from_millis(50));
        let router = axum::Router::new().route("/", axum::routing::get(async || "here"));
        let serving = tokio::spawn(async move { axum::serve(bounded, router).await });
        let (mut silent, mut slow) =
            (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let mut said = Vec::new();
        // Closed without an answer, whether nothing was said or the half of it.
        let closed = silent.read_to_end(&mut said).await;
        assert!(closed.is_err() || said.is_empty(), "{said:?}");
        // It may have been let go before it says anything at all.
        drop(slow.write_all(b"GET / HTTP/1.1\r\nHost:").await);
        let closed = slow.read_to_end(&mut said).await;
        assert!(closed.is_err() || !said.starts_with(b"HTTP/1.1 200"), "{said:?}");
        // On a machine that is busy the server may lose patience with an honest one too; it comes again.
        let mut answer = String::new();
        while !answer.ends_with("here") {
            answer = ask(address).await.unwrap_or_default();
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.0 200"), "{answer}");
        }
        serving.abort();
    }
}
