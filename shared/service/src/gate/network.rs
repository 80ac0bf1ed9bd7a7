//! IP networks: what counts as one neighbourhood, and what an operator names in his settings.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

/// Bits of the network that an IPv4 address is counted in.
const NEIGHBOURS_V4_BITS: u8 = 24;
/// Bits of the network that an IPv6 address is counted in: what one household gets.
const NEIGHBOURS_V6_BITS: u8 = 64;

/// All addresses with the same first bits.
///
/// Invariant: the other bits are 0, and IPv4 is never written as IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a network as ADDRESS/BITS, for instance 10.0.0.0/8")]
pub struct NotANetwork;

impl Network {
    /// The network of `address` with so many bits; more than the address has are all of them.
    pub fn new(address: IpAddr, bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = bits.min(32);
                let mask = u32::MAX.checked_shl(u32::from(32 - bits)).unwrap_or(0);
                Self { first: IpAddr::V4((address.to_bits() & mask).into()), bits }
            }
            IpAddr::V6(address) => {
                let bits = bits.min(128);
                let mask = u128::MAX.checked_shl(u32::from(128 - bits)).unwrap_or(0);
                Self { first: IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask)), bits }
            }
        }
    }

    /// The neighbourhood of an address: /24 or /64.
    pub(super) fn around(address: IpAddr) -> Self {
        let is_v4 = address.to_canonical().is_ipv4();
        Self::new(address, if is_v4 { NEIGHBOURS_V4_BITS } else { NEIGHBOURS_V6_BITS })
    }

    /// Who is held to account for an address: it alone, or its /64, for whoever has one address of
    /// that has them all.
    pub(crate) fn source(address: IpAddr) -> Self {
        let is_v4 = address.to_canonical().is_ipv4();
        Self::new(address, if is_v4 { 32 } else { NEIGHBOURS_V6_BITS })
    }

    /// A network, or an address for itself alone.
    pub fn of_one_or_many(text: &str) -> Result<Self, NotANetwork> {
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Self::new(address, 128)),
            Err(_) => text.parse(),
        }
    }

    /// True if `address` is in it.
    pub fn holds(self, address: IpAddr) -> bool {
        Self::new(address, self.bits) == self
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, bits) = text.split_once('/').ok_or(NotANetwork)?;
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let bits: u8 = bits.parse().map_err(|_| NotANetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most {
            return Err(NotANetwork);
        }
        Ok(Self::new(address, bits))
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().holds(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_the_addresses_with_its_first_bits() {
        assert!(holds("10.0.0.0/8", "10.255.0.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::1/128", "::1"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        // The host bits of what an operator writes do not matter.
        assert!(holds("192.168.1.77/24", "192.168.1.1"));
    }

    #[test]
    fn an_ipv4_address_that_came_through_an_ipv6_socket_is_the_same() {
        assert!(holds("127.0.0.0/8", "::ffff:127.0.0.1"));
        let mapped: IpAddr = "::ffff:203.0.113.9".parse().unwrap();
        assert_eq!(Network::around(mapped).to_string(), "203.0.113.0/24");
    }

    #[test]
    fn an_ipv6_source_is_the_whole_of_what_one_household_has() {
        let source = |text: &str| Network::source(text.parse().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:2"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("203.0.113.9"), source("203.0.113.8"));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "::/129", "localhost/8", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }
}
