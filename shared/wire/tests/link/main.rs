//! The encrypted link against SRI's noise_sv2 and codec_sv2, in both roles, and against peers that
//! mean no good.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test says what it expects"
)]

mod frames;
mod handshake;
mod hostile;
mod sri;

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use wire::sv2::codec::{DecodeError, Reader, Wire};
use wire::sv2::keys::{AuthorityKey, AuthoritySecret};
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::message::Message;
use wire::sv2::noise::ServerIdentity;

/// SRI's public pair of test keys.
const SECRET: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
/// A key that has signed nothing here: the example of spec 4.7.1.
const OTHER_KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
const UNIX_NOW: u32 = 1_700_000_000;
const VALIDITY_SECONDS: u32 = 3_600;
/// Room for the longest frame of these tests.
const LIMITS: LinkLimits = LinkLimits { frame_bytes_max: 200_000, output_bytes_max: 1_000_000 };

fn authority() -> AuthoritySecret {
    SECRET.parse().unwrap()
}

fn our_client(key: Option<AuthorityKey>, unix_now: u32) -> Link {
    Link::client(key, LIMITS, [1; 32], unix_now)
}

fn our_server(unix_now: u32) -> Link {
    let identity = ServerIdentity::certified(&authority(), VALIDITY_SECONDS, [3; 32], unix_now);
    Link::server(Arc::new(identity), LIMITS, [2; 32])
}

/// What the link has to send.
fn sent(link: &mut Link) -> Vec<u8> {
    let mut out = BytesMut::new();
    link.poll_transmit(&mut out);
    out.to_vec()
}

/// Two of our links after their handshake: client, server.
fn open_pair() -> (Link, Link) {
    let (mut client, mut server) = (our_client(None, UNIX_NOW), our_server(UNIX_NOW));
    server.receive(&sent(&mut client)).unwrap();
    client.receive(&sent(&mut server)).unwrap();
    assert!(client.is_open() && server.is_open());
    (client, server)
}

/// A message of any length: its payload is what it holds.
#[derive(Debug, Clone, PartialEq)]
struct Filler(Vec<u8>);

impl Filler {
    fn of_length(length: usize) -> Self {
        Self((0..length).map(|at| u8::try_from(at % 251).unwrap()).collect())
    }
}

impl Wire for Filler {
    fn encode(&self, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take(reader.rest().len()).map(|bytes| Self(bytes.to_vec()))
    }
}

impl Message for Filler {
    const EXTENSION: u16 = 0;
    const MESSAGE_TYPE: u8 = 0xfe;
    const CHANNEL_MSG: bool = true;
    const NAME: &'static str = "Filler";
}
