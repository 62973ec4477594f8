//! The bytes of an HTTP connection: plain, or under TLS where the server has a certificate.
//!
//! ```text
//! first byte --of a TLS greeting--> shakes hands, as part of the first read --> encrypted
//!            --anything else-----------------------------------------------> plain
//! ```
//!
//! One port speaks both, so that probes ask as they always did and statements can come encrypted. Who may ask what is not
//! decided here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

use crate::flight::tls::Tls;

/// What a TLS connection begins with: the record of a handshake.
const GREETING: u8 = 0x16;

/// The bytes of a connection.
pub(super) enum Stream {
    /// Nobody has spoken yet.
    New(TcpStream, Arc<Tls>),
    /// Shakes hands.
    Shaking(Box<Accept<TcpStream>>),
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed.
    Ended,
}

impl Stream {
    pub(super) fn new(stream: TcpStream, tls: Option<&Arc<Tls>>) -> Self {
        match tls {
            None => Self::Plain(stream),
            Some(tls) => Self::New(stream, Arc::clone(tls)),
        }
    }

    /// Finds out which of both it is.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::New(stream, tls) => {
                    let mut first = [0];
                    let mut first = ReadBuf::new(&mut first);
                    let peeked = stream.poll_peek(context, &mut first);
                    if peeked.is_pending() {
                        *self = Self::New(stream, tls);
                        return Poll::Pending;
                    }
                    ready!(peeked)?;
                    *self = match first.filled() {
                        [GREETING] => Self::Shaking(Box::new(TlsAcceptor::from(tls.for_http()).accept(stream))),
                        _ => Self::Plain(stream),
                    };
                }
                Self::Shaking(mut accept) => match Pin::new(&mut accept).poll(context) {
                    Poll::Ready(stream) => *self = Self::Tls(Box::new(stream?)),
                    Poll::Pending => {
                        *self = Self::Shaking(accept);
                        return Poll::Pending;
                    }
                },
                open => {
                    *self = open;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// The certificate that the client has shown, where it is encrypted: none if it has shown none.
    pub(super) fn encrypted(&self) -> Option<Option<&[u8]>> {
        match self {
            Self::Tls(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                Some(shown.map(|certificate| certificate.as_ref()))
            }
            _ => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
            Self::New(..) | Self::Shaking(_) | Self::Ended => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            // An answer comes behind a request.
            Self::New(..) | Self::Shaking(_) | Self::Ended => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::New(..) | Self::Shaking(_) | Self::Ended => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::New(..) | Self::Shaking(_) | Self::Ended => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::New(..) | Self::Shaking(_) | Self::Ended => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) | Self::New(stream, _) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Shaking(_) | Self::Ended => Poll::Ready(Ok(())),
        }
    }
}
