//! Who a server is: a static key, and the certificate by which its authority vouches for it
//! (spec 4.5.3).
//!
//! Both are made once and serve many connections: a signature for each would cost as much as the
//! rest of its handshake. Whose clock it is by is the caller's to say.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use ring::digest::{SHA256, digest};
use secp256k1::ellswift::ElligatorSwift;
use secp256k1::schnorr::Signature;
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey, XOnlyPublicKey};

use super::super::keys::{AuthorityKey, AuthoritySecret};

/// Bytes of a SIGNATURE_NOISE_MESSAGE: version 2, two times of 4, signature 64.
pub(super) const CERTIFICATE_BYTES: usize = 74;
/// Bytes of a public key in ElligatorSwift.
pub(super) const KEY_BYTES: usize = 64;
/// The only version of certificates.
const VERSION: u16 = 0;
/// Bytes before the signature.
const SIGNED_BYTES: usize = 10;
/// A certificate is valid from so long before it is made, in seconds: small devices set their
/// clocks late.
const VALID_BEFORE_SECONDS: u32 = 3_600;
/// How far a server's clock may differ from ours, in seconds, where the specification says nothing:
/// as much as SRI allows.
const LEEWAY_SECONDS: u32 = 10;

/// What a server answers handshakes with. Shared by its connections.
pub struct ServerIdentity {
    pub(super) secret: SecretKey,
    pub(super) public: ElligatorSwift,
    pub(super) certificate: [u8; CERTIFICATE_BYTES],
}

impl ServerIdentity {
    /// A new static key, certified by `authority` until `validity_seconds` after `unix_now`
    /// (seconds). `seed` must be fresh randomness of the operating system.
    pub fn certified(
        authority: &AuthoritySecret,
        validity_seconds: u32,
        seed: [u8; 32],
        unix_now: u32,
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let secret = SecretKey::new(&mut rng);
        let (mut encoding, mut aux) = ([0; 32], [0; 32]);
        rng.fill_bytes(&mut encoding);
        rng.fill_bytes(&mut aux);
        let public = ElligatorSwift::from_seckey(SECP256K1, secret, Some(encoding));
        let valid_from = unix_now.saturating_sub(VALID_BEFORE_SECONDS);
        let not_valid_after = unix_now.saturating_add(validity_seconds);
        let mut certificate = [0; CERTIFICATE_BYTES];
        let (signed, signature) = certificate.split_at_mut(SIGNED_BYTES);
        signed.copy_from_slice(&times(valid_from, not_valid_after));
        let message = message(signed, &secret.x_only_public_key(SECP256K1).0);
        let made = SECP256K1.sign_schnorr_with_aux_rand(&message, &authority.keypair(), &aux);
        signature.copy_from_slice(made.as_ref());
        Self { secret, public, certificate }
    }
}

/// The fields before the signature, little-endian.
fn times(valid_from: u32, not_valid_after: u32) -> [u8; SIGNED_BYTES] {
    let [a, b] = VERSION.to_le_bytes();
    let [c, d, e, f] = valid_from.to_le_bytes();
    let [g, h, i, j] = not_valid_after.to_le_bytes();
    [a, b, c, d, e, f, g, h, i, j]
}

/// What is signed: the hash of the fields and of the static key's x coordinate.
fn message(signed: &[u8], key: &XOnlyPublicKey) -> Message {
    let mut fields = [0; SIGNED_BYTES + 32];
    let (times, x) = fields.split_at_mut(SIGNED_BYTES);
    times.copy_from_slice(signed);
    x.copy_from_slice(&key.serialize());
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &fields).as_ref());
    Message::from_digest(hash)
}

/// True if `authority` vouches at `unix_now` for the server with this static key. Without an
/// authority only the version counts, and any server is taken for the right one.
pub(super) fn is_valid(
    certificate: &[u8; CERTIFICATE_BYTES],
    server: ElligatorSwift,
    authority: Option<AuthorityKey>,
    unix_now: u32,
) -> bool {
    let (signed, signature) = certificate.split_at(SIGNED_BYTES);
    let [v0, v1, a, b, c, d, e, f, g, h] = *signed else { return false };
    if u16::from_le_bytes([v0, v1]) != VERSION {
        return false;
    }
    let Some(authority) = authority else { return true };
    let valid_from = u32::from_le_bytes([a, b, c, d]).saturating_sub(LEEWAY_SECONDS);
    let not_valid_after = u32::from_le_bytes([e, f, g, h]).saturating_add(LEEWAY_SECONDS);
    let key = PublicKey::from_ellswift(server).x_only_public_key().0;
    (valid_from..=not_valid_after).contains(&unix_now)
        && Signature::from_slice(signature).is_ok_and(|signature| {
            let message = message(signed, &key);
            SECP256K1.verify_schnorr(&signature, &message, &authority.x_only()).is_ok()
        })
}
