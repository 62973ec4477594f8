//! The other end of a connection, as it is known before anybody says who they are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::certificate::Certificate;

/// The other end of a connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    pub(super) address: Option<IpAddr>,
    pub(super) certificate: Option<Arc<Certificate>>,
}

impl Peer {
    /// One that calls from `address`.
    pub fn at(address: SocketAddr) -> Self {
        // An IPv4 address that came over an IPv6 socket is the same address.
        Self { address: Some(address.ip().to_canonical()), certificate: None }
    }

    /// The address that it calls from, where it has one.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The same, with a certificate (DER) that a trusted authority signed and whose key the peer has shown to hold. One that
    /// cannot be read names nobody.
    #[must_use]
    pub fn with_certificate(mut self, der: &[u8]) -> Self {
        self.certificate = Certificate::read(der).map(Arc::new);
        self
    }

    /// The network that one who calls may choose an address from: an address of its own, or what IPv6 gives to a customer.
    pub(super) fn network(&self) -> Option<IpAddr> {
        self.address.map(|address| match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(of) => IpAddr::V6((of.to_bits() & (u128::MAX << 64)).into()),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_one_network() {
        let network = |address: &str| Peer::at(address.parse().unwrap()).network();
        assert_eq!(network("[2001:db8:1:2::1]:1"), network("[2001:db8:1:2:ffff::9]:2"));
        assert_ne!(network("[2001:db8:1:2::1]:1"), network("[2001:db8:1:3::1]:1"));
        assert_ne!(network("192.0.2.1:1"), network("192.0.2.2:1"));
        assert_eq!(network("[::ffff:192.0.2.1]:1"), network("192.0.2.1:9"));
        assert_eq!(Peer::default().network(), None);
    }
}
