//! One direction of a connection: ChaCha20-Poly1305 with a counter for a nonce (spec 4.4.1).
//!
//! It encrypts and decrypts in place and allocates nothing: a pool does this several times for each
//! share.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::NoiseError;

/// Bytes of the authentication code at the end of each ciphertext.
pub(super) const MAC_BYTES: usize = 16;
/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

/// `CipherState` of the specification, with a key.
pub(super) struct Cipher {
    /// The bare key: an expanded one takes half a kilobyte, and as long to copy as to make.
    key: Zeroizing<[u8; KEY_BYTES]>,
    /// `n`: messages so far.
    count: u64,
}

impl Cipher {
    pub(super) fn new(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self { key, count: 0 }
    }

    /// Encrypts `bytes` in place; gives what belongs behind them.
    pub(super) fn seal(
        &mut self,
        associated: &[u8],
        bytes: &mut [u8],
    ) -> Result<[u8; MAC_BYTES], NoiseError> {
        let sealed =
            self.ready()?.seal_in_place_separate_tag(self.nonce(), Aad::from(associated), bytes);
        let tag = sealed.map_err(|_| NoiseError::Authentication)?;
        self.count += 1;
        tag.as_ref().try_into().map_err(|_| NoiseError::Authentication)
    }

    /// Decrypts `bytes`, which end with the code, in place; what was sealed stands in front then.
    /// After a failure the count is as before, and the bytes are of no use.
    pub(super) fn open(&mut self, associated: &[u8], bytes: &mut [u8]) -> Result<(), NoiseError> {
        let opened = self.ready()?.open_in_place(self.nonce(), Aad::from(associated), bytes);
        opened.map_err(|_| NoiseError::Authentication)?;
        self.count += 1;
        Ok(())
    }

    /// The key, unless all nonces are used up: the last is reserved by the Noise protocol.
    fn ready(&self) -> Result<LessSafeKey, NoiseError> {
        if self.count == u64::MAX {
            return Err(NoiseError::Authentication);
        }
        let key = UnboundKey::new(&CHACHA20_POLY1305, self.key.as_ref());
        key.map(LessSafeKey::new).map_err(|_| NoiseError::Authentication)
    }

    /// 32 zero bits, then the count in little-endian.
    fn nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        let (_, counter) = nonce.split_at_mut(4);
        counter.copy_from_slice(&self.count.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}
