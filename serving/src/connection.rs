//! A connection, with TLS or without, whose other side is given so much time to begin, and to read what it asked for.

use crate::connections::OpenConnection;
use descry_trust::{Caller, ClientCertificate};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::Sleep;
use tonic::transport::server::TcpConnectInfo;

/// Reads and writes like its stream. Fails when the other side does not say what it wants, or reads nothing for too long.
pub(crate) struct Connection<Stream> {
    stream: Stream,
    /// What is still missing before HTTP/2 looks after the connection itself.
    greeting: Option<Greeting>,
    write_timeout: Duration,
    /// Rings when nothing could be written for too long; there while something is to be written and there is no room.
    write_alarm: Option<Pin<Box<Sleep>>>,
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
    /// What the client showed, where it was asked to.
    pub(crate) certificate: Option<Arc<ClientCertificate>>,
    /// One permit for each request that may be worked on at once.
    pub(crate) request_slots: Arc<Semaphore>,
    pub(crate) connection: Arc<OpenConnection>,
}

impl ConnectionInfo {
    /// Who calls, as far as the connection says so.
    pub(crate) fn caller(&self) -> Caller {
        Caller { principal: None, address: self.tcp.remote_addr(), certificate: self.certificate.clone() }
    }
}

impl<Stream> Connection<Stream> {
    pub(crate) fn new(stream: Stream, write_timeout: Duration) -> Self {
        let alarm = Box::pin(tokio::time::sleep(GREETING_LIMIT));
        let greeting = Some(Greeting { missing_bytes: GREETING_BYTES, alarm });
        Self { stream, greeting, write_timeout, write_alarm: None }
    }

    /// HTTP/2 waits for ever for room to write.
    fn check_progress<Written>(
        &mut self,
        written: Poll<io::Result<Written>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Written>> {
        if written.is_ready() {
            self.write_alarm = None;
            return written;
        }
        let alarm = self.write_alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.write_timeout)));
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<Stream: AsyncRead + Unpin> AsyncRead for Connection<Stream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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

impl<Stream: AsyncWrite + Unpin> AsyncWrite for Connection<Stream> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check_progress(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What TLS has encrypted waits here.
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.check_progress(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check_progress(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_not_read_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = Connection::new(stream, Duration::from_secs(30));
        // The client reads nothing: after some megabytes there is no room to write.
        let started = tokio::time::Instant::now();
        let error = loop {
            if let Err(error) = connection.write_all(&[0; 1 << 16]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 30);
        drop(client);
    }
}
