//! Noise NX over secp256k1 with ElligatorSwift (spec chapter 4): handshake and transport.
//!
//! Here is the transport: frames are encrypted in place at the end of the output buffer and
//! decrypted in place in the input buffer. `handshake` agrees on its keys, `certificate` is what a
//! server proves itself by, `cipher` is one direction. Seeds and the time are arguments.

mod certificate;
mod cipher;
mod handshake;

use bytes::{BufMut, Bytes, BytesMut};

use super::codec::DecodeError;
use super::frame::{Frame, HEADER_BYTES, Header};
pub use certificate::ServerIdentity;
use cipher::{Cipher, MAC_BYTES};
pub use handshake::{ACT_1_BYTES, ACT_2_BYTES, ClientHandshake, respond};

/// Plaintext bytes of one Noise block (spec 4.6).
const BLOCK_BYTES: usize = 65_535 - MAC_BYTES;
/// Bytes of an encrypted frame header.
const SEALED_HEADER_BYTES: usize = HEADER_BYTES + MAC_BYTES;

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

/// Both directions after the handshake.
pub struct Transport {
    encryptor: Cipher,
    decryptor: Cipher,
    /// The header of a frame whose payload has not arrived whole.
    pending: Option<Header>,
}

impl Transport {
    fn new(encryptor: Cipher, decryptor: Cipher) -> Self {
        Self { encryptor, decryptor, pending: None }
    }

    /// Appends to `out` the encrypted frame whose payload is what `put` appends; `header` makes its
    /// header of the payload's length, in bytes. False, and nothing is appended, if `out` and the
    /// payload would be longer than `out_bytes_max`.
    pub fn seal(
        &mut self,
        out: &mut BytesMut,
        out_bytes_max: usize,
        header: impl FnOnce(usize) -> [u8; HEADER_BYTES],
        put: impl FnOnce(&mut BytesMut),
    ) -> Result<bool, NoiseError> {
        let start = out.len();
        out.put_bytes(0, SEALED_HEADER_BYTES);
        let payload = out.len();
        put(out);
        let length = out.len() - payload;
        if start + length > out_bytes_max {
            out.truncate(start);
            return Ok(false);
        }
        // The header takes the first nonce: it is sealed first, in the place that was left for it.
        let place = out.get_mut(start..payload).unwrap_or_default();
        let (text, code) =
            place.split_at_mut_checked(HEADER_BYTES).ok_or(NoiseError::Authentication)?;
        text.copy_from_slice(&header(length));
        code.copy_from_slice(&self.encryptor.seal(&[], text)?);
        match length {
            0 => {}
            1..=BLOCK_BYTES => self.seal_tail(out, payload)?,
            _ => {
                for block in out.split_off(payload).chunks(BLOCK_BYTES) {
                    let start = out.len();
                    out.extend_from_slice(block);
                    self.seal_tail(out, start)?;
                }
            }
        }
        Ok(true)
    }

    /// Encrypts what stands in `out` from `start` on, in place.
    fn seal_tail(&mut self, out: &mut BytesMut, start: usize) -> Result<(), NoiseError> {
        let code = self.encryptor.seal(&[], out.get_mut(start..).unwrap_or_default())?;
        out.extend_from_slice(&code);
        Ok(())
    }

    /// True between the header of a frame and its payload.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
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
            return self.open_block(input, length + MAC_BYTES).map(BytesMut::freeze);
        }
        let mut payload = BytesMut::with_capacity(length);
        while payload.len() < length {
            let block = (length - payload.len()).min(BLOCK_BYTES);
            payload.extend_from_slice(&self.open_block(input, block + MAC_BYTES)?);
        }
        Ok(payload.freeze())
    }

    /// Decrypts the first `sealed` bytes of `input` in place. Callers hold `sealed <= input.len()`.
    fn open_block(&mut self, input: &mut BytesMut, sealed: usize) -> Result<BytesMut, NoiseError> {
        let mut block = input.split_to(sealed);
        self.decryptor.open(&[], &mut block)?;
        block.truncate(sealed.saturating_sub(MAC_BYTES));
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
    length + length.div_ceil(BLOCK_BYTES) * MAC_BYTES
}
