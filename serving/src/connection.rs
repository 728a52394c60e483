//! A TCP connection that can be ended from outside, counts among the server's and knows how many requests it may have.
//!
//! tonic runs each connection as a task of its own and offers no way to end one. A client that keeps a stream open would
//! keep the service from ever stopping.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Reads and writes like its stream until it is cut off; then reading fails, and the HTTP/2 server gives it up.
pub(crate) struct Connection {
    stream: TcpStream,
    cut_off: Pin<Box<WaitForCancellationFutureOwned>>,
    /// One permit for each request that may be worked on at once.
    request_slots: Arc<Semaphore>,
    /// Counts among the server's connections.
    _connection_slot: OwnedSemaphorePermit,
    /// What is still missing before HTTP/2 looks after the connection itself.
    greeting: Option<Greeting>,
}

/// The first bytes of an HTTP/2 connection. hyper waits for them for ever, and connections are few.
struct Greeting {
    missing_bytes: usize,
    alarm: Pin<Box<Sleep>>,
}

/// `PRI * HTTP/2.0`, two empty lines and `SM` between them.
const GREETING_BYTES: usize = 24;
const GREETING_LIMIT: Duration = Duration::from_secs(10);

/// What each request knows of its connection.
#[derive(Clone)]
pub(crate) struct ConnectionInfo {
    pub(crate) tcp: TcpConnectInfo,
    pub(crate) request_slots: Arc<Semaphore>,
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        cut_off: CancellationToken,
        connection_slot: OwnedSemaphorePermit,
        max_requests: usize,
    ) -> Self {
        let request_slots = Arc::new(Semaphore::new(max_requests.min(Semaphore::MAX_PERMITS)));
        let alarm = Box::pin(tokio::time::sleep(GREETING_LIMIT));
        let greeting = Some(Greeting { missing_bytes: GREETING_BYTES, alarm });
        Self {
            stream,
            cut_off: Box::pin(cut_off.cancelled_owned()),
            request_slots,
            _connection_slot: connection_slot,
            greeting,
        }
    }
}

impl Connection {
    /// In every direction: a client that does not read what it asked for leaves HTTP/2 waiting for room to write, and it
    /// reads nothing meanwhile.
    fn check_cut_off(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut_off.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        ConnectionInfo { tcp: self.stream.connect_info(), request_slots: Arc::clone(&self.request_slots) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_cut_off(context)?;
        let Self { stream, greeting, .. } = &mut *self;
        let Some(missing) = greeting else { return Pin::new(stream).poll_read(context, buffer) };
        if missing.alarm.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let filled = buffer.filled().len();
        let read = Pin::new(stream).poll_read(context, buffer);
        missing.missing_bytes = missing.missing_bytes.saturating_sub(buffer.filled().len() - filled);
        if missing.missing_bytes == 0 {
            *greeting = None;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_cut_off(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut_off(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut_off(context)?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut_off(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_cut_off_connection_neither_reads_nor_waits_to_write() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let slot = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let cut_off = CancellationToken::new();
        let mut connection = Connection::new(stream, cut_off.clone(), slot, 1);
        // The client reads nothing: after some megabytes there is no room to write.
        let writing = async { while connection.write_all(&[0; 1 << 16]).await.is_ok() {} };
        let cutting = async {
            tokio::task::yield_now().await;
            cut_off.cancel();
        };
        let both = async { tokio::join!(writing, cutting) };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        assert_eq!(connection.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        drop(client);
    }
}
