//! Connections of the HTTP listener, which wait for nobody for ever.
//!
//! A connection ends when no request was read for a while, however many of its bytes came one by one, and when the client
//! takes nothing of an answer for long. While a request is answered only the second holds: a query may take its time. A TLS
//! handshake is part of the first request's time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep, sleep_until};

use super::stream::Stream;
use crate::auth;
use crate::flight::tls::Tls;

/// How long a request's head may take, and how long a connection may have none.
const HEAD: Duration = Duration::from_secs(30);

/// Where connections come in.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    /// What a client that begins with TLS is answered with.
    pub(super) tls: Option<Arc<Tls>>,
    /// How long a client may take nothing of its answer.
    pub(super) patience: Duration,
    /// How long a request's head may take.
    pub(super) head: Duration,
}

impl Door {
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<Tls>>, patience: Duration) -> Self {
        Self { listener, tls, patience, head: HEAD }
    }
}

/// Who is at the other end of a connection, and whether it is being answered.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    address: SocketAddr,
    activity: Arc<Mutex<Activity>>,
}

impl Peer {
    /// Whether it is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// Whether nobody else can read what is said on the connection.
    pub(super) fn is_encrypted(&self) -> bool {
        self.activity().encrypted.is_some()
    }

    /// As whoever checks credentials knows it.
    pub(super) fn as_caller(&self) -> auth::Peer {
        self.activity().encrypted.clone().unwrap_or_else(|| auth::Peer::at(self.address))
    }

    /// Says that a request is being answered, until this is dropped.
    pub(super) fn busy(&self) -> Busy {
        let mut activity = self.activity();
        activity.answers = activity.answers.saturating_add(1);
        Busy(self.clone())
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Busy(Peer);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut activity = self.0.activity();
        activity.answers = activity.answers.saturating_sub(1);
        activity.last = Instant::now();
        // Who waits to read began to wait without a clock.
        if let Some(reader) = activity.reader.take() {
            reader.wake();
        }
    }
}

/// What happens on a connection.
#[derive(Debug)]
struct Activity {
    /// Requests that are being answered.
    answers: usize,
    /// When it was made, or the last answer ended.
    last: Instant,
    /// Who waits to read while a request is answered.
    reader: Option<Waker>,
    /// Who is there, with the certificate that was shown, once a handshake has made the connection a secret.
    encrypted: Option<auth::Peer>,
}

/// A connection with its clocks.
pub(super) struct Connection {
    stream: Stream,
    peer: Peer,
    head: Duration,
    patience: Duration,
    reading: Pin<Box<Sleep>>,
    /// Set while the client takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // It tries again by itself when an accept fails.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(cause) = stream.set_nodelay(true) {
            tracing::debug!(%cause, "a connection ended before it was accepted");
        }
        let now = Instant::now();
        let activity = Activity { answers: 0, last: now, reader: None, encrypted: None };
        let peer = Peer { address, activity: Arc::new(Mutex::new(activity)) };
        let stream = Stream::new(stream, self.tls.as_ref());
        let reading = Box::pin(sleep_until(now + self.head));
        let (head, patience) = (self.head, self.patience);
        (Connection { stream, peer, head, patience, reading, writing: None }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().peer.clone()
    }
}

impl Connection {
    /// What a write gave, or that the client has taken nothing for too long.
    fn written<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = None;
            return outcome;
        }
        let patience = self.patience;
        let clock = self.writing.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        match clock.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let mut activity = this.peer.activity();
        if activity.encrypted.is_none()
            && let Some(shown) = this.stream.encrypted()
        {
            let peer = auth::Peer::at(this.peer.address);
            activity.encrypted = Some(shown.into_iter().fold(peer, |peer, shown| peer.with_certificate(shown)));
        }
        if read.is_ready() {
            return read;
        }
        if activity.answers > 0 {
            activity.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let late = activity.last + this.head;
        drop(activity);
        if this.reading.deadline() != late {
            this.reading.as_mut().reset(late);
        }
        match this.reading.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Under TLS what is written waits here, and not where it was written.
        let outcome = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, outcome)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::middleware::from_fn;
    use axum::routing::get;
    use futures::stream::{self, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::super::keep;
    use super::*;

    const HEAD: Duration = Duration::from_millis(200);

    async fn served(router: Router, patience: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door { listener, tls: None, patience, head: HEAD };
        let service = router.layer(from_fn(keep)).into_make_service_with_connect_info::<Peer>();
        tokio::spawn(async move { axum::serve(door, service).await });
        address
    }

    #[tokio::test]
    async fn a_request_must_come_but_its_answer_may_take_its_time() {
        let slow = || async {
            tokio::time::sleep(HEAD * 3).await;
            "done"
        };
        let address = served(Router::new().route("/slow", get(slow)), Duration::from_secs(60)).await;
        let mut asked = TcpStream::connect(address).await.unwrap();
        asked.write_all(b"GET /slow HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let mut dripped = TcpStream::connect(address).await.unwrap();
        let mut silent = TcpStream::connect(address).await.unwrap();
        // A header that never ends: letters come all the time, and no request does.
        let dripping = async {
            dripped.write_all(b"GET /slow HTTP/1.1\r\nx: ").await.unwrap();
            while dripped.write_all(b"x").await.is_ok() {
                tokio::time::sleep(HEAD / 20).await;
            }
        };
        dripping.await;
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or_default(), 0, "it was ended");
        let mut answer = String::new();
        // It ends when no further request comes.
        asked.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_of_its_answer_is_given_up() {
        let sent = Arc::new(());
        let held = Arc::clone(&sent);
        let endless = move || {
            let held = Arc::clone(&held);
            async move {
                Body::from_stream(stream::repeat(Bytes::from_static(&[b'x'; 65_536])).map(move |part| {
                    let _held = &held;
                    Ok::<_, io::Error>(part)
                }))
            }
        };
        let address = served(Router::new().route("/endless", get(endless)), Duration::from_millis(300)).await;
        let mut reader = TcpStream::connect(address).await.unwrap();
        reader.write_all(b"GET /endless HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        reader.read_exact(&mut [0; 100]).await.unwrap();
        // One copy here and one in the route.
        while Arc::strong_count(&sent) > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
