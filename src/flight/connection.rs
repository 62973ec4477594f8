//! Connections, one after the other: plain ones as they come, those with TLS when they have shaken hands.
//!
//! ```text
//! accept -> plain ------------------------------> served
//!        -> TLS: shakes hands beside the others -> served
//!                 +-- too slow, or crowded out: gone
//! ```
//!
//! Who is slow to shake hands holds up nobody: at most so many are about to, and when one more comes, the one that has taken
//! longest goes. Nor does one stay that opens a connection and says nothing: HTTP/2 begins with bytes that every client
//! sends at once, and no clock of its own waits for them.
//!
//! HTTP/2 writes frame by frame, 16 KiB each, and asks after each that it be sent. Here they are gathered until there are
//! several of them or no more, because each sending costs as much as copying one of them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use futures::stream::{self, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::auth::Peer;
use crate::flight::tls::Tls;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// What every HTTP/2 connection begins with, in bytes.
const PREFACE: usize = 24;
/// How many may be shaking hands at once.
const SHAKING: usize = 256;
/// How many bytes are sent at once.
const GATHERED: usize = 128 * 1024;
/// After an accept that failed: without file descriptors it would fail again at once, and spin.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A connection that is ready to be served.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Bytes,
    pub(super) peer: Peer,
    opening: Option<Opening>,
    /// What is written and not yet sent.
    gathered: BytesMut,
    /// Whether something was written since somebody asked that it be sent.
    unasked: bool,
}

/// A connection on which nobody has spoken HTTP/2 yet.
#[derive(Debug)]
struct Opening {
    missing: usize,
    until: Pin<Box<Sleep>>,
}

#[derive(Debug)]
enum Bytes {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    fn new(stream: Bytes, peer: Peer) -> Self {
        let opening = Opening { missing: PREFACE, until: Box::pin(sleep(HANDSHAKE)) };
        Self { stream, peer, opening: Some(opening), gathered: BytesMut::new(), unasked: false }
    }
}

/// What comes in at a listener.
struct Incoming {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    shaking: JoinSet<Option<Connection>>,
    /// The handshakes in the order in which they began.
    begun: VecDeque<AbortHandle>,
}

/// Connections, for ever: an accept that fails is tried again.
pub(super) fn incoming(listener: TcpListener, tls: Option<Arc<Tls>>) -> impl Stream<Item = io::Result<Connection>> {
    let incoming = Incoming { listener, tls, shaking: JoinSet::new(), begun: VecDeque::new() };
    stream::unfold(incoming, async |mut incoming| Some((Ok(incoming.next().await), incoming)))
}

impl Incoming {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(done) = self.shaking.join_next() => {
                    self.begun.retain(|handshake| !handshake.is_finished());
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((connection, address)) => {
                        // Without it the last bytes of a small result wait for the client's acknowledgement.
                        if let Err(cause) = connection.set_nodelay(true) {
                            tracing::debug!(%cause, "a connection ended before it was accepted");
                            continue;
                        }
                        let peer = Peer::at(address);
                        match &self.tls {
                            None => return Connection::new(Bytes::Plain(connection), peer),
                            Some(tls) => {
                                let acceptor = TlsAcceptor::from(tls.config());
                                self.begin(shake(acceptor, connection, peer));
                            }
                        }
                    }
                    Err(cause) => {
                        tracing::warn!(%cause, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                },
            }
        }
    }

    fn begin(&mut self, handshake: impl Future<Output = Option<Connection>> + Send + 'static) {
        if self.begun.len() >= SHAKING
            && let Some(longest) = self.begun.pop_front()
        {
            longest.abort();
        }
        self.begun.push_back(self.shaking.spawn(handshake));
    }
}

async fn shake(acceptor: TlsAcceptor, connection: TcpStream, peer: Peer) -> Option<Connection> {
    match tokio::time::timeout(HANDSHAKE, acceptor.accept(connection)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let peer = match shown {
                Some(certificate) => peer.with_certificate(certificate),
                None => peer,
            };
            Some(Connection::new(Bytes::Tls(Box::new(stream)), peer))
        }
        Ok(Err(cause)) => {
            tracing::debug!(%cause, ?peer, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(?peer, "a TLS handshake took too long");
            None
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = match &mut self.stream {
            Bytes::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Bytes::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        };
        if read.is_pending()
            && let Poll::Ready(Err(broken)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(broken));
        }
        let Some(opening) = &mut self.opening else { return read };
        opening.missing = opening.missing.saturating_sub(into.filled().len().saturating_sub(before));
        if opening.missing == 0 {
            self.opening = None;
        } else if read.is_pending() && opening.until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl Connection {
    /// Sends what is gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let sent = match &mut self.stream {
                Bytes::Plain(stream) => ready!(Pin::new(stream).poll_write(cx, &self.gathered))?,
                Bytes::Tls(stream) => ready!(Pin::new(stream).poll_write(cx, &self.gathered))?,
            };
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= GATHERED {
            ready!(self.poll_send(cx))?;
        }
        let mut taken = 0;
        for slice in slices {
            let (part, _) = slice.split_at(slice.len().min(GATHERED.saturating_sub(self.gathered.len())));
            self.gathered.extend_from_slice(part);
            taken += part.len();
        }
        self.unasked = true;
        Poll::Ready(Ok(taken))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.unasked) && self.gathered.len() < GATHERED {
            // It asks behind each frame, and once more when it has no more of them. Should it not, then it is woken, reads,
            // and what is gathered goes with that.
            cx.waker().wake_by_ref();
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_send(cx))?;
        match &mut self.stream {
            Bytes::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        match &mut self.stream {
            Bytes::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Bytes::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use futures::StreamExt;

    use super::*;

    async fn listener() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn connections_come_in_one_after_the_other() {
        let (listener, address) = listener().await;
        let mut connections = Box::pin(incoming(listener, None));
        for _ in 0..3 {
            let client = TcpStream::connect(address).await.unwrap();
            let server = connections.next().await.unwrap().unwrap();
            let Bytes::Plain(stream) = &server.stream else { unreachable!() };
            assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
            assert!(stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn who_does_not_speak_http_is_not_waited_for_and_who_does_is() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        const SOON: Duration = Duration::from_millis(100);
        for (said, stays) in [(0, false), (PREFACE - 1, false), (PREFACE, true)] {
            let (listener, address) = listener().await;
            let mut client = TcpStream::connect(address).await.unwrap();
            let mut server = Connection::new(Bytes::Plain(listener.accept().await.unwrap().0), Peer::at(address));
            server.opening = Some(Opening { missing: PREFACE, until: Box::pin(sleep(SOON)) });
            client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".get(..said).unwrap()).await.unwrap();
            let read = tokio::time::timeout(SOON * 5, server.read_exact(&mut [0; PREFACE + 1])).await;
            assert_eq!(read.is_err(), stays, "{said} bytes");
            assert!(stays || read.unwrap().unwrap_err().kind() == io::ErrorKind::TimedOut);
        }
    }

    #[tokio::test]
    async fn who_shakes_hands_longest_makes_room() {
        let (quiet, elsewhere) = (listener().await.0, listener().await);
        let mut incoming = Incoming { listener: quiet, tls: None, shaking: JoinSet::new(), begun: VecDeque::new() };
        for _ in 0..SHAKING + 2 {
            incoming.begin(std::future::pending());
        }
        // The two that were crowded out end; the others go on, and one that is ready passes them all.
        for _ in 0..2 {
            assert!(incoming.shaking.join_next().await.unwrap().unwrap_err().is_cancelled());
        }
        let (client, peer) = (TcpStream::connect(elsewhere.1).await.unwrap(), Peer::at(elsewhere.1));
        incoming.begin(async move { Some(Connection::new(Bytes::Plain(client), peer)) });
        assert!(matches!(incoming.next().await.stream, Bytes::Plain(_)));
        assert_eq!(incoming.begun.len(), SHAKING - 1);
    }
}
