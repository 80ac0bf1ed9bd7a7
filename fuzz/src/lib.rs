//! What the targets share: both ends of a link, ours and SRI's, made of fixed randomness, so that
//! an input does the same each time.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use stratum_core::codec_sv2::{
    Decrypted, Handshake, NoiseDecoder, NoiseEncoder, Transport, TransportDecryptState,
    TransportEncryptState,
};
use stratum_core::framing_sv2::framing::SerializedFrame;
use stratum_core::noise_sv2::{Initiator, Responder};
use wire::sv2::frame::Header;
use wire::sv2::keys::{AuthorityKey, AuthoritySecret};
use wire::sv2::link::{Link, LinkLimits};
use wire::sv2::noise::ServerIdentity;

/// SRI's public test key.
const SECRET: &str = "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n";
const VALIDITY_SECONDS: u32 = 3_600;
/// Seconds since 1970.
pub const UNIX_NOW: u32 = 1_700_000_000;
/// Longest payload that our links take.
pub const FRAME_BYTES_MAX: usize = 100_000;
const LIMITS: LinkLimits =
    LinkLimits { frame_bytes_max: FRAME_BYTES_MAX, output_bytes_max: 4_000_000 };

/// Who signs.
pub fn authority() -> AuthoritySecret {
    SECRET.parse().unwrap()
}

/// Our client before its handshake.
pub fn client(key: Option<AuthorityKey>) -> Link {
    Link::client(key, LIMITS, [1; 32], UNIX_NOW)
}

/// Our server before its handshake.
pub fn server() -> Link {
    let identity = ServerIdentity::certified(&authority(), VALIDITY_SECONDS, [3; 32], UNIX_NOW);
    Link::server(Arc::new(identity), LIMITS, [2; 32])
}

/// SRI's server before its handshake.
pub fn responder() -> (Box<Responder>, ChaCha20Rng) {
    let secret = bitcoin::base58::decode_check(SECRET).unwrap();
    let secret: [u8; 32] = secret.try_into().unwrap();
    let public = authority().public().to_bytes();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let validity = Duration::from_secs(VALIDITY_SECONDS.into());
    let responder = Responder::from_authority_kp_with_rng(&public, &secret, validity, &mut rng);
    (responder.unwrap(), rng)
}

/// What a link has to send.
pub fn sent(link: &mut Link) -> Vec<u8> {
    let mut out = BytesMut::new();
    link.poll_transmit(&mut out);
    out.to_vec()
}

/// Our server and SRI's client after their handshake.
pub fn sri_client() -> (Link, SriPeer) {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let key = authority().public().to_bytes();
    let initiator = Initiator::from_raw_k_with_rng(key, &mut rng).unwrap();
    let (act_1, handshake) = Handshake::initiator(initiator).step_0().unwrap();
    let mut server = server();
    server.receive(act_1.payload()).unwrap();
    let act_2 = sent(&mut server);
    let opened = handshake.step_2_with_now(act_2.as_slice().try_into().unwrap(), UNIX_NOW);
    (server, SriPeer::new(opened.unwrap()))
}

/// An open connection as SRI's programs hold it.
pub struct SriPeer {
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    encrypt: TransportEncryptState,
    /// Gone after a failure.
    decrypt: Option<TransportDecryptState>,
}

impl SriPeer {
    fn new(transport: Transport) -> Self {
        let (encrypt, decrypt) = transport.split();
        let (encoder, decoder) = (NoiseEncoder::new(), NoiseDecoder::new());
        Self { encoder, decoder, encrypt, decrypt: Some(decrypt) }
    }

    /// The ciphertext of a frame.
    pub fn seal(&mut self, header: Header, payload: &[u8]) -> Vec<u8> {
        let bytes = [&header.to_bytes(), payload].concat();
        let frame = SerializedFrame::from_bytes(bytes).unwrap();
        self.encoder.encode_transport(frame, &mut self.encrypt).unwrap()
    }

    /// The frames in `sealed`, which must be whole.
    pub fn open(&mut self, mut sealed: &[u8]) -> Result<Vec<(Header, Vec<u8>)>, String> {
        let mut frames = Vec::new();
        while !sealed.is_empty() {
            let (now, later) = sealed.split_at(self.decoder.writable_len());
            self.decoder.writable().copy_from_slice(now);
            sealed = later;
            let state = self.decrypt.take().unwrap();
            let decrypted = self.decoder.next_transport_frame(state);
            match decrypted.map_err(|error| format!("{error:?}"))? {
                Decrypted::Incomplete(_, state) => self.decrypt = Some(state),
                Decrypted::Frame(mut frame, state) => {
                    self.decrypt = Some(state);
                    let header = frame.as_bytes()[..6].try_into().unwrap();
                    frames.push((Header::from_bytes(header), frame.payload().to_vec()));
                }
            }
        }
        Ok(frames)
    }
}
