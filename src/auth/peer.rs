//! The other end of a connection, as it is known before anybody says who they are.

use std::net::{IpAddr, SocketAddr};

/// The other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// Where it calls from.
    pub(super) address: Option<IpAddr>,
}

impl Peer {
    /// One that calls from `address`.
    pub fn at(address: SocketAddr) -> Self {
        // An IPv4 address that came over an IPv6 socket is the same address.
        Self { address: Some(address.ip().to_canonical()) }
    }
}
