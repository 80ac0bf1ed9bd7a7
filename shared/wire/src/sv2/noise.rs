//! Noise NX over secp256k1 with ElligatorSwift (spec chapter 4): handshake and transport.
//!
//! The handshake's cryptography is SRI's `noise_sv2`. What is ours is the transport: frames are
//! encrypted in place at the end of the output buffer and decrypted in place in the input buffer.
//! Seeds and the time are arguments.

use aead::Buffer;
use bytes::{Bytes, BytesMut};
use noise_sv2::{
    AEAD_MAC_LEN, ELLSWIFT_ENCODING_SIZE, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator,
    NoiseDecryptor, NoiseEncryptor, NoiseEngine, Responder,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use secp256k1::XOnlyPublicKey;

use super::codec::DecodeError;
use super::frame::{EncodedFrame, Frame, HEADER_BYTES, Header};
use super::keys::{AuthorityKey, AuthoritySecret};

/// Bytes of act 1: the initiator's ephemeral key (spec 4.5.1).
pub const ACT_1_BYTES: usize = ELLSWIFT_ENCODING_SIZE;
/// Bytes of act 2: 64 + 80 + 90. (The spec's figure of 170 predates its own field list.)
pub const ACT_2_BYTES: usize = INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE;

/// Plaintext bytes of one Noise block (spec 4.6).
const BLOCK_BYTES: usize = 65_535 - AEAD_MAC_LEN;
/// Bytes of an encrypted frame header.
const SEALED_HEADER_BYTES: usize = HEADER_BYTES + AEAD_MAC_LEN;

/// Why encryption failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// The peer's handshake message cannot be used.
    #[error("the handshake failed")]
    Handshake,
    /// The server's certificate is not signed by the configured key, or is not valid now.
    #[error("the certificate is not valid for the configured authority key")]
    Certificate,
    /// A ciphertext was altered, or more messages were sent than nonces exist.
    #[error("a message failed authentication")]
    Authentication,
}

/// What a server needs to answer a handshake. One a connection.
pub struct ServerIdentity {
    /// Signs the certificate.
    pub authority: AuthoritySecret,
    /// How long the certificate is valid, in seconds.
    pub certificate_validity_seconds: u32,
}

/// The server's answer to act 1: act 2 and the keys.
///
/// `seed` must be fresh randomness of the operating system; `unix_now` is in seconds.
pub fn respond(
    identity: &ServerIdentity,
    act_1: [u8; ACT_1_BYTES],
    seed: [u8; 32],
    unix_now: u32,
) -> Result<([u8; ACT_2_BYTES], Transport), NoiseError> {
    let mut rng = StdRng::from_seed(seed);
    let mut responder = Responder::new_with_rng(
        identity.authority.keypair(),
        identity.certificate_validity_seconds,
        &mut rng,
    );
    let (act_2, engine) = responder
        .step_1_with_now_rng(act_1, unix_now, &mut rng)
        .map_err(|_| NoiseError::Handshake)?;
    Ok((act_2, Transport::new(engine)))
}

/// The client's side of a handshake between its two messages.
pub struct ClientHandshake(Box<Initiator>);

impl ClientHandshake {
    /// Makes act 1. Without a key, any server is taken for the right one.
    pub fn start(
        authority: Option<AuthorityKey>,
        seed: [u8; 32],
    ) -> Result<([u8; ACT_1_BYTES], Self), NoiseError> {
        let key = authority
            .map(|key| XOnlyPublicKey::from_slice(&key.to_bytes()))
            .transpose()
            .map_err(|_| NoiseError::Handshake)?;
        let mut initiator = Initiator::new_with_rng(key, &mut StdRng::from_seed(seed));
        let act_1 = initiator.step_0().map_err(|_| NoiseError::Handshake)?;
        Ok((act_1, Self(initiator)))
    }

    /// Takes act 2 and checks the certificate at `unix_now` (seconds).
    pub fn finish(
        mut self,
        act_2: [u8; ACT_2_BYTES],
        unix_now: u32,
    ) -> Result<Transport, NoiseError> {
        let engine = self.0.step_2_with_now(act_2, unix_now).map_err(|error| match error {
            noise_sv2::Error::InvalidCertificate(_) => NoiseError::Certificate,
            _ => NoiseError::Handshake,
        })?;
        Ok(Transport::new(engine))
    }
}

/// Both directions after the handshake.
pub struct Transport {
    encryptor: NoiseEncryptor,
    decryptor: NoiseDecryptor,
    /// The header of a frame whose payload has not arrived whole.
    pending: Option<Header>,
}

impl Transport {
    fn new(engine: NoiseEngine) -> Self {
        let (encryptor, decryptor) = engine.into_split();
        Self { encryptor, decryptor, pending: None }
    }

    /// Appends the encrypted `frame` to `out`, its leading ids replaced by `ids`.
    pub fn seal(
        &mut self,
        frame: &EncodedFrame,
        ids: &[u32],
        out: &mut BytesMut,
    ) -> Result<(), NoiseError> {
        self.seal_tail(out, |out| out.extend_from_slice(frame.header()))?;
        if frame.payload_len() <= BLOCK_BYTES {
            return match frame.payload_len() {
                0 => Ok(()),
                _ => self.seal_tail(out, |out| frame.put_payload(ids, out)),
            };
        }
        let mut payload = BytesMut::with_capacity(frame.payload_len());
        frame.put_payload(ids, &mut payload);
        for block in payload.chunks(BLOCK_BYTES) {
            self.seal_tail(out, |out| out.extend_from_slice(block))?;
        }
        Ok(())
    }

    /// Encrypts, in place, what `put` appends to `out`.
    fn seal_tail(
        &mut self,
        out: &mut BytesMut,
        put: impl FnOnce(&mut BytesMut),
    ) -> Result<(), NoiseError> {
        let start = out.len();
        put(out);
        self.encryptor
            .encrypt(&mut Tail { bytes: out, start })
            .map_err(|_| NoiseError::Authentication)
    }

    /// Takes one whole frame from the front of `input`, if it is there.
    ///
    /// A frame announced with more than `max_payload_bytes` is refused before its payload is read.
    pub fn open(
        &mut self,
        input: &mut BytesMut,
        max_payload_bytes: usize,
    ) -> Result<Option<Frame>, OpenError> {
        let header = match self.pending.take() {
            Some(header) => header,
            None => match self.open_header(input, max_payload_bytes)? {
                Some(header) => header,
                None => return Ok(None),
            },
        };
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if input.len() < sealed_payload_bytes(length) {
            self.pending = Some(header);
            return Ok(None);
        }
        let payload = self.open_payload(input, length)?;
        Ok(Some(Frame { header, payload }))
    }

    fn open_header(
        &mut self,
        input: &mut BytesMut,
        max_payload_bytes: usize,
    ) -> Result<Option<Header>, OpenError> {
        if input.len() < SEALED_HEADER_BYTES {
            return Ok(None);
        }
        let plain = self.open_block(input, SEALED_HEADER_BYTES)?;
        let bytes = plain.as_ref().try_into().map_err(|_| NoiseError::Authentication)?;
        let header = Header::from_bytes(bytes);
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if length > max_payload_bytes {
            return Err(DecodeError::FrameTooLong { length, max: max_payload_bytes }.into());
        }
        Ok(Some(header))
    }

    fn open_payload(&mut self, input: &mut BytesMut, length: usize) -> Result<Bytes, NoiseError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        if length <= BLOCK_BYTES {
            return self.open_block(input, length + AEAD_MAC_LEN).map(BytesMut::freeze);
        }
        let mut payload = BytesMut::with_capacity(length);
        while payload.len() < length {
            let block = (length - payload.len()).min(BLOCK_BYTES);
            payload.extend_from_slice(&self.open_block(input, block + AEAD_MAC_LEN)?);
        }
        Ok(payload.freeze())
    }

    /// Decrypts the first `sealed` bytes of `input` in place. Callers hold `sealed <= input.len()`.
    fn open_block(&mut self, input: &mut BytesMut, sealed: usize) -> Result<BytesMut, NoiseError> {
        let mut block = input.split_to(sealed);
        self.decryptor
            .decrypt(&mut Tail { bytes: &mut block, start: 0 })
            .map_err(|_| NoiseError::Authentication)?;
        Ok(block)
    }
}

/// Why no frame could be taken from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Decryption failed.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The frame is not acceptable.
    #[error(transparent)]
    Frame(#[from] DecodeError),
}

/// Ciphertext bytes of a payload of `length` plaintext bytes (spec 4.6).
fn sealed_payload_bytes(length: usize) -> usize {
    length + length.div_ceil(BLOCK_BYTES) * AEAD_MAC_LEN
}

/// The end of a buffer, as the cipher wants to see it.
///
/// Invariant: `start <= bytes.len()`.
struct Tail<'a> {
    bytes: &'a mut BytesMut,
    start: usize,
}

impl AsRef<[u8]> for Tail<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

impl AsMut<[u8]> for Tail<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..).unwrap_or_default()
    }
}

impl Buffer for Tail<'_> {
    fn extend_from_slice(&mut self, other: &[u8]) -> aead::Result<()> {
        self.bytes.extend_from_slice(other);
        Ok(())
    }

    fn truncate(&mut self, len: usize) {
        self.bytes.truncate(self.start + len);
    }
}
