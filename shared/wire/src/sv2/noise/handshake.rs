//! Noise NX in two acts: keys that nobody else has, with a server that its authority vouches for
//! (spec 4.5).
//!
//! Seeds and the time are arguments. Each side calls its operations in the order of the
//! specification; what must not be is that one is left out, for then the keys differ.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use secp256k1::ellswift::{ElligatorSwift, ElligatorSwiftParty};
use secp256k1::{SECP256K1, SecretKey};
use zeroize::Zeroizing;

use super::super::keys::AuthorityKey;
use super::certificate::{CERTIFICATE_BYTES, KEY_BYTES, ServerIdentity, is_valid};
use super::cipher::{Cipher, MAC_BYTES};
use super::{NoiseError, Transport};

/// Bytes of act 1: the initiator's ephemeral key (spec 4.5.1).
pub const ACT_1_BYTES: usize = KEY_BYTES;
/// Bytes of act 2: 64 + 80 + 90. (The specification's figure of 170 is older than its own fields.)
pub const ACT_2_BYTES: usize = KEY_BYTES + SEALED_KEY_BYTES + SEALED_CERTIFICATE_BYTES;

const SEALED_KEY_BYTES: usize = KEY_BYTES + MAC_BYTES;
const SEALED_CERTIFICATE_BYTES: usize = CERTIFICATE_BYTES + MAC_BYTES;
const PROTOCOL_NAME: &[u8] = b"Noise_NX_Secp256k1+EllSwift_ChaChaPoly_SHA256";

type Hash = [u8; 32];

/// The server's answer to act 1: act 2 and the keys. `seed` must be fresh randomness of the
/// operating system.
pub fn respond(
    identity: &ServerIdentity,
    act_1: [u8; ACT_1_BYTES],
    seed: [u8; 32],
) -> Result<([u8; ACT_2_BYTES], Transport), NoiseError> {
    let mut state = Symmetric::after_act_1(&act_1);
    let theirs = ElligatorSwift::from_array(act_1);
    let ephemeral = Ephemeral::new(seed);
    let mut act_2 = [0; ACT_2_BYTES];
    let (key, sealed) = act_2.split_at_mut(KEY_BYTES);
    let (sealed_key, sealed_certificate) = sealed.split_at_mut(SEALED_KEY_BYTES);
    let shared_with = |ours: ElligatorSwift, secret: SecretKey| {
        shared(theirs, ours, secret, ElligatorSwiftParty::B)
    };

    key.copy_from_slice(&ephemeral.public.to_array());
    state.mix_hash(key);
    state.mix_key(&*shared_with(ephemeral.public, ephemeral.secret))?;
    state.seal_into(&identity.public.to_array(), sealed_key)?;
    state.mix_key(&*shared_with(identity.public, identity.secret))?;
    state.seal_into(&identity.certificate, sealed_certificate)?;
    let (from_client, to_client) = state.split()?;
    Ok((act_2, Transport::new(to_client, from_client)))
}

/// The client's side of a handshake between its two messages.
pub struct ClientHandshake {
    state: Symmetric,
    ephemeral: Ephemeral,
    authority: Option<AuthorityKey>,
}

impl ClientHandshake {
    /// Makes act 1. Without a key, any server is taken for the right one. `seed` must be fresh
    /// randomness of the operating system.
    pub fn start(authority: Option<AuthorityKey>, seed: [u8; 32]) -> ([u8; ACT_1_BYTES], Self) {
        let ephemeral = Ephemeral::new(seed);
        let act_1 = ephemeral.public.to_array();
        (act_1, Self { state: Symmetric::after_act_1(&act_1), ephemeral, authority })
    }

    /// Takes act 2 and checks the certificate at `unix_now` (seconds).
    pub fn finish(
        mut self,
        act_2: [u8; ACT_2_BYTES],
        unix_now: u32,
    ) -> Result<Transport, NoiseError> {
        let Some((key, sealed)) = act_2.split_first_chunk::<KEY_BYTES>() else {
            return Err(NoiseError::Handshake);
        };
        let (sealed_key, sealed_certificate) = sealed.split_at(SEALED_KEY_BYTES);
        let Ephemeral { secret, public } = self.ephemeral;
        let shared_with = |theirs| shared(public, theirs, secret, ElligatorSwiftParty::A);

        self.state.mix_hash(key);
        self.state.mix_key(&*shared_with(ElligatorSwift::from_array(*key)))?;
        let server = ElligatorSwift::from_array(self.state.open_from(sealed_key)?);
        self.state.mix_key(&*shared_with(server))?;
        let certificate: [u8; CERTIFICATE_BYTES] = self.state.open_from(sealed_certificate)?;
        if !is_valid(&certificate, server, self.authority, unix_now) {
            return Err(NoiseError::Certificate);
        }
        let (to_server, from_server) = self.state.split()?;
        Ok(Transport::new(to_server, from_server))
    }
}

/// A key pair of one connection.
struct Ephemeral {
    secret: SecretKey,
    public: ElligatorSwift,
}

impl Ephemeral {
    fn new(seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let secret = SecretKey::new(&mut rng);
        let mut encoding = [0; 32];
        rng.fill_bytes(&mut encoding);
        let public = ElligatorSwift::from_seckey(SECP256K1, secret, Some(encoding));
        Self { secret, public }
    }
}

impl Drop for Ephemeral {
    fn drop(&mut self) {
        self.secret.non_secure_erase();
    }
}

/// `v2_ecdh` of BIP324: the initiator's key comes first, whoever asks.
fn shared(
    initiator: ElligatorSwift,
    responder: ElligatorSwift,
    secret: SecretKey,
    ours: ElligatorSwiftParty,
) -> Zeroizing<Hash> {
    let secret = ElligatorSwift::shared_secret(initiator, responder, secret, ours, None);
    Zeroizing::new(secret.to_secret_bytes())
}

/// The variables of a handshake and the operations on them (spec 4.4.2).
struct Symmetric {
    chaining_key: Zeroizing<Hash>,
    hash: Hash,
    /// `None` until the first MixKey.
    cipher: Option<Cipher>,
}

impl Symmetric {
    /// The name is longer than a hash, so its hash stands for it; then act 1 with its empty
    /// payload, which is not encrypted.
    fn after_act_1(act_1: &[u8; ACT_1_BYTES]) -> Self {
        let name = sha256(PROTOCOL_NAME);
        let mut state =
            Self { chaining_key: Zeroizing::new(name), hash: sha256(&name), cipher: None };
        state.mix_hash(act_1);
        state.mix_hash(&[]);
        state
    }

    /// MixHash.
    fn mix_hash(&mut self, data: &[u8]) {
        let mut context = ring::digest::Context::new(&SHA256);
        context.update(&self.hash);
        context.update(data);
        self.hash.copy_from_slice(context.finish().as_ref());
    }

    /// MixKey.
    fn mix_key(&mut self, input: &[u8]) -> Result<(), NoiseError> {
        let (chaining_key, key) = hkdf(&self.chaining_key, input)?;
        self.chaining_key = chaining_key;
        self.cipher = Some(Cipher::new(key));
        Ok(())
    }

    /// EncryptAndHash; `sealed` has room for the code.
    fn seal_into(&mut self, plain: &[u8], sealed: &mut [u8]) -> Result<(), NoiseError> {
        let cipher = self.cipher.as_mut().ok_or(NoiseError::Handshake)?;
        let (text, code) = sealed.split_at_mut_checked(plain.len()).ok_or(NoiseError::Handshake)?;
        text.copy_from_slice(plain);
        code.copy_from_slice(&cipher.seal(&self.hash, text)?);
        self.mix_hash(sealed);
        Ok(())
    }

    /// DecryptAndHash.
    fn open_from<const N: usize>(&mut self, sealed: &[u8]) -> Result<[u8; N], NoiseError> {
        let cipher = self.cipher.as_mut().ok_or(NoiseError::Handshake)?;
        let mut opened = sealed.to_vec();
        let failed = |_| NoiseError::Handshake;
        cipher.open(&self.hash, &mut opened).map_err(failed)?;
        self.mix_hash(sealed);
        opened.first_chunk::<N>().copied().ok_or(NoiseError::Handshake)
    }

    /// The ciphers of the connection: from the initiator, to the initiator.
    fn split(self) -> Result<(Cipher, Cipher), NoiseError> {
        let (first, second) = hkdf(&self.chaining_key, &[])?;
        Ok((Cipher::new(first), Cipher::new(second)))
    }
}

fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Two hashes' length of key.
struct TwoKeys;

impl KeyType for TwoKeys {
    fn len(&self) -> usize {
        64
    }
}

/// HKDF of RFC 5869 with two outputs and without info.
fn hkdf(
    chaining_key: &Hash,
    input: &[u8],
) -> Result<(Zeroizing<Hash>, Zeroizing<Hash>), NoiseError> {
    let mut both = Zeroizing::new([0; 64]);
    let key = Salt::new(HKDF_SHA256, chaining_key).extract(input);
    let expanded = key.expand(&[], TwoKeys).and_then(|keys| keys.fill(both.as_mut()));
    expanded.map_err(|_| NoiseError::Handshake)?;
    let (mut first, mut second) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    let (head, tail) = both.split_at(32);
    first.copy_from_slice(head);
    second.copy_from_slice(tail);
    Ok((first, second))
}
