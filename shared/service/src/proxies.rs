//! Who asks, where a proxy asks for him: X-Forwarded-For, as far as it was written by proxies that
//! an operator has named.
//!
//! Everybody may send such a field. So it is read from its end, which the last proxy has written,
//! and no further than proxies are known; without one that is known it is not looked at.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};

use crate::gate::Network;

/// What each proxy adds the address to that it was asked from.
const FORWARDED: &str = "x-forwarded-for";

/// The proxies that are believed. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Arc<[Network]>);

impl Proxies {
    pub(crate) fn new(networks: &[Network]) -> Self {
        Self(networks.into())
    }

    /// True of a proxy, which asks for many.
    pub(crate) fn hold(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// The request as from whom it really is.
    pub(crate) fn unveil(&self, mut request: Request<Body>) -> Request<Body> {
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|from| from.0);
        if let Some(from) = from.filter(|from| self.hold(from.ip())) {
            let address = self.origin(from.ip(), request.headers());
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(address, from.port())));
        }
        request
    }

    /// The first from the end who is no proxy; the proxy itself, if it names nobody.
    fn origin(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        let fields = headers.get_all(FORWARDED).iter().rev();
        // Each by itself: what the asker wrote must not spoil what a proxy has added to it.
        let mut named = fields.flat_map(|field| field.as_bytes().rsplit(|byte| *byte == b','));
        let mut origin = proxy;
        while self.hold(origin)
            && let Some(address) = named.next().and_then(read)
        {
            origin = address;
        }
        origin
    }
}

/// An address, with a port or without.
fn read(bytes: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let with_port = || text.parse::<SocketAddr>().ok().map(|it| it.ip());
    text.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn from(peer: &str, fields: &[&'static str]) -> String {
        let fields: Vec<_> = fields.iter().map(|field| field.as_bytes()).collect();
        from_bytes(peer, &fields)
    }

    fn from_bytes(peer: &str, fields: &[&[u8]]) -> String {
        let proxies = Proxies::new(&["127.0.0.0/8", "10.0.0.1/32"].map(|it| it.parse().unwrap()));
        let mut request = Request::new(Body::empty());
        let peer: IpAddr = peer.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 1)));
        for field in fields {
            request.headers_mut().append(FORWARDED, HeaderValue::from_bytes(field).unwrap());
        }
        let request = proxies.unveil(request);
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>().unwrap();
        from.0.ip().to_string()
    }

    #[test]
    fn who_asks_through_a_known_proxy_is_himself_and_nobody_else_is_believed() {
        assert_eq!(from("203.0.113.9", &["198.51.100.1"]), "203.0.113.9", "no known proxy");
        assert_eq!(from("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(from("127.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        // What the asker wrote himself stands before what the proxy has added.
        assert_eq!(from("127.0.0.1", &["192.0.2.7, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("127.0.0.1", &["192.0.2.7", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(from_bytes("127.0.0.1", &[b"\xff, 198.51.100.1"]), "198.51.100.1");
        // Through two known proxies.
        assert_eq!(from("127.0.0.1", &["198.51.100.1, 10.0.0.1"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1");
        for nonsense in ["", "unknown", "198.51.100.1, ???"] {
            assert_eq!(from("127.0.0.1", &[nonsense]), "127.0.0.1", "{nonsense}");
        }
    }
}
