//! SRI's end of a connection.

use bitcoin::base58;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::time::Duration;
use stratum_core::codec_sv2::{
    Decrypted, Handshake, InitiatorSent, NoiseDecoder, NoiseEncoder, Transport,
    TransportDecryptState, TransportEncryptState,
};
use stratum_core::framing_sv2::framing::SerializedFrame;
use stratum_core::noise_sv2::{Initiator, Responder};
use wire::sv2::frame::Header;

use crate::{SECRET, VALIDITY_SECONDS, authority};

/// An open connection as SRI's programs hold it.
pub(crate) struct SriPeer {
    encoder: NoiseEncoder,
    decoder: NoiseDecoder,
    encrypt: TransportEncryptState,
    /// Gone after a failure.
    decrypt: Option<TransportDecryptState>,
}

/// Act 2 for `act_1`, from an authority with the test key, and the open connection.
pub(crate) fn respond(act_1: &[u8], unix_now: u32) -> (Vec<u8>, SriPeer) {
    let secret: [u8; 32] = base58::decode_check(SECRET).unwrap().try_into().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let validity = Duration::from_secs(VALIDITY_SECONDS.into());
    let public = authority().public().to_bytes();
    let responder =
        Responder::from_authority_kp_with_rng(&public, &secret, validity, &mut rng).unwrap();
    let (act_2, transport) = Handshake::responder(responder)
        .step_1_with_now_rng(act_1.try_into().unwrap(), unix_now, &mut rng)
        .unwrap();
    (act_2.payload().to_vec(), SriPeer::new(transport))
}

/// SRI's client between its two messages.
pub(crate) struct SriClient(Handshake<InitiatorSent>);

/// Act 1 of a client that trusts `key`.
pub(crate) fn initiate(key: [u8; 32]) -> (Vec<u8>, SriClient) {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let initiator = Initiator::from_raw_k_with_rng(key, &mut rng).unwrap();
    let (act_1, handshake) = Handshake::initiator(initiator).step_0().unwrap();
    (act_1.payload().to_vec(), SriClient(handshake))
}

impl SriClient {
    pub(crate) fn finish(self, act_2: &[u8], unix_now: u32) -> Result<SriPeer, String> {
        let opened = self.0.step_2_with_now(act_2.try_into().unwrap(), unix_now);
        opened.map(SriPeer::new).map_err(|error| format!("{error:?}"))
    }
}

impl SriPeer {
    fn new(transport: Transport) -> Self {
        let (encrypt, decrypt) = transport.split();
        let (encoder, decoder) = (NoiseEncoder::new(), NoiseDecoder::new());
        Self { encoder, decoder, encrypt, decrypt: Some(decrypt) }
    }

    /// The ciphertext of a frame.
    pub(crate) fn seal(&mut self, header: Header, payload: &[u8]) -> Vec<u8> {
        let bytes = [&header.to_bytes(), payload].concat();
        let frame = SerializedFrame::from_bytes(bytes).unwrap();
        self.encoder.encode_transport(frame, &mut self.encrypt).unwrap()
    }

    /// The frames in `sealed`, which must be whole.
    pub(crate) fn open(&mut self, mut sealed: &[u8]) -> Result<Vec<(Header, Vec<u8>)>, String> {
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
