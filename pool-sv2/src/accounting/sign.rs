//! The signature of a message: who has the secret knows that the pool has made it, and when.

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};

/// `v1=` and HMAC-SHA256 of the time, a dot and the body, in hex.
pub(super) fn signature(secret: &[u8], timestamp: &str, body: &[u8]) -> String {
    let mut engine = HmacEngine::<sha256::Hash>::new(secret);
    for part in [timestamp.as_bytes(), b".", body] {
        engine.input(part);
    }
    format!("v1={}", Hmac::from_engine(engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
    #[test]
    fn it_is_what_openssl_makes() {
        let signature = signature(b"0123456789abcdef", "1700000000", b"{\"a\":1}");
        assert_eq!(signature, EXPECTED);
    }

    const EXPECTED: &str = "v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
}
