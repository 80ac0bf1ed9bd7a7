//! Authority keys and mining URLs in the forms that firmware takes (spec 4.7).
//!
//! A secret never shows in `Debug` or `Display`; who wants its text calls `to_secret_text`.

use std::fmt;
use std::str::FromStr;

use bitcoin::base58;
use rand::{CryptoRng, Rng};
use secp256k1::{Keypair, SECP256K1, SecretKey, XOnlyPublicKey};

/// The version prefix of a public key in base58check: a little-endian 1 (spec 4.7).
const VERSION_PREFIX: [u8; 2] = [1, 0];

/// Why a text is no key or URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base58check, or a wrong checksum.
    #[error("not base58check: {0}")]
    Base58(String),
    /// Another length or version prefix than a key has.
    #[error("not an authority key: it must be version 1 and 32 bytes")]
    NotAKey,
    /// 32 bytes that are no point or scalar of secp256k1.
    #[error("not a secp256k1 key")]
    NotOnCurve,
    /// Not `stratum2+tcp://HOST:PORT/KEY`.
    #[error("not of the form stratum2+tcp://HOST:PORT/KEY")]
    NotAUrl,
}

/// The public key that signs a server's certificate; what a miner configures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthorityKey(XOnlyPublicKey);

impl AuthorityKey {
    /// The x coordinate, big-endian as in BIP340.
    pub fn to_bytes(self) -> [u8; 32] {
        self.0.serialize()
    }

    /// For the check of certificates alone.
    pub(super) fn x_only(self) -> XOnlyPublicKey {
        self.0
    }
}

impl FromStr for AuthorityKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = base58::decode_check(text.trim())
            .map_err(|error| KeyError::Base58(error.to_string()))?;
        let key = bytes.strip_prefix(&VERSION_PREFIX).ok_or(KeyError::NotAKey)?;
        if key.len() != 32 {
            return Err(KeyError::NotAKey);
        }
        XOnlyPublicKey::from_slice(key).map(Self).map_err(|_| KeyError::NotOnCurve)
    }
}

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = VERSION_PREFIX.to_vec();
        bytes.extend(self.0.serialize());
        f.write_str(&base58::encode_check(&bytes))
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key pair of an authority: signs the certificates of its servers.
#[derive(Clone)]
pub struct AuthoritySecret(Keypair);

impl AuthoritySecret {
    /// Makes a new key from the caller's randomness.
    pub fn generate(rng: &mut (impl Rng + CryptoRng)) -> Self {
        Self(Keypair::new(SECP256K1, rng))
    }

    /// The public half.
    pub fn public(&self) -> AuthorityKey {
        AuthorityKey(self.0.x_only_public_key().0)
    }

    /// The secret as base58check of its 32 bytes, the form that SRI's pool takes too.
    pub fn to_secret_text(&self) -> String {
        base58::encode_check(&self.0.secret_bytes())
    }

    /// For making certificates alone.
    pub(super) fn keypair(&self) -> Keypair {
        self.0
    }
}

impl FromStr for AuthoritySecret {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = base58::decode_check(text.trim())
            .map_err(|error| KeyError::Base58(error.to_string()))?;
        let secret = SecretKey::from_slice(&bytes).map_err(|_| KeyError::NotAKey)?;
        Ok(Self(Keypair::from_secret_key(SECP256K1, &secret)))
    }
}

impl fmt::Debug for AuthoritySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthoritySecret({})", self.public())
    }
}

/// `stratum2+tcp://HOST:PORT/KEY`: where a server is and which key it must prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sv2Url {
    /// Host name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The authority key, if the URL has one.
    pub authority_key: Option<AuthorityKey>,
}

impl FromStr for Sv2Url {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let rest = text.trim().strip_prefix("stratum2+tcp://").ok_or(KeyError::NotAUrl)?;
        let (address, key) = match rest.split_once('/') {
            Some((address, "")) => (address, None),
            Some((address, key)) => (address, Some(key.parse()?)),
            None => (rest, None),
        };
        let (host, port) = address.rsplit_once(':').ok_or(KeyError::NotAUrl)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(KeyError::NotAUrl);
        }
        let port = port.parse().map_err(|_| KeyError::NotAUrl)?;
        Ok(Self { host: host.to_owned(), port, authority_key: key })
    }
}

impl fmt::Display for Sv2Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "stratum2+tcp://[{}]:{}", self.host, self.port)?,
            false => write!(f, "stratum2+tcp://{}:{}", self.host, self.port)?,
        }
        self.authority_key.map_or(Ok(()), |key| write!(f, "/{key}"))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    /// The test vector of spec 4.7.1.
    const SPEC_TEXT: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    const SPEC_BYTES: [u8; 32] = [
        118, 99, 112, 0, 151, 156, 28, 17, 175, 12, 48, 11, 205, 140, 127, 228, 134, 16, 252, 233,
        185, 193, 30, 61, 174, 227, 90, 224, 176, 138, 116, 85,
    ];

    /// Spec 4.7: an authority key is base58check with the prefix [1, 0], as in the test vector.
    #[test]
    fn the_key_of_the_spec_reads_and_prints_the_same() {
        let key: AuthorityKey = SPEC_TEXT.parse().unwrap();
        assert_eq!(key.to_bytes(), SPEC_BYTES);
        assert_eq!(key.to_string(), SPEC_TEXT);
    }

    #[test]
    fn sri_test_keys_are_a_pair() {
        let secret: AuthoritySecret =
            "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n".parse().unwrap();
        let public = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
        assert_eq!(secret.public().to_string(), public);
        assert_eq!(secret.to_secret_text(), "mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n");
    }

    #[test]
    fn a_mistyped_key_is_refused() {
        let typo = SPEC_TEXT.replace("9bXi", "9bXj");
        assert!(matches!(typo.parse::<AuthorityKey>(), Err(KeyError::Base58(_))));
    }

    #[test]
    fn a_secret_does_not_show_in_debug() {
        let secret = AuthoritySecret::generate(&mut ChaCha20Rng::seed_from_u64(1));
        assert!(!format!("{secret:?}").contains(&secret.to_secret_text()));
    }

    #[test]
    fn urls_read_and_print_the_same() {
        for text in [
            format!("stratum2+tcp://thepool.com:34254/{SPEC_TEXT}"),
            "stratum2+tcp://127.0.0.1:3333".to_owned(),
            format!("stratum2+tcp://[::1]:3333/{SPEC_TEXT}"),
        ] {
            assert_eq!(text.parse::<Sv2Url>().unwrap().to_string(), text);
        }
        assert_eq!("stratum+tcp://a:1".parse::<Sv2Url>(), Err(KeyError::NotAUrl));
        assert_eq!("stratum2+tcp://a".parse::<Sv2Url>(), Err(KeyError::NotAUrl));
    }
}
