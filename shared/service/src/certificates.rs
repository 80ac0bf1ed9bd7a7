//! The certificate that a server answers handshakes with.
//!
//! It is made now and then, not for each connection: a signature and a key pair cost as much as the
//! rest of a handshake, and all connections may share them (spec 4.5.3).

use std::sync::{Arc, Mutex, PoisonError};

use wire::sv2::keys::AuthoritySecret;
use wire::sv2::noise::ServerIdentity;

use crate::clock;

/// Makes certificates. Cheap to clone; all clones share the newest one.
#[derive(Clone)]
pub struct Certificates(Arc<Inner>);

struct Inner {
    authority: AuthoritySecret,
    validity_seconds: u32,
    newest: Mutex<Option<Issued>>,
}

struct Issued {
    identity: Arc<ServerIdentity>,
    /// Seconds since 1970.
    at: u32,
}

impl Certificates {
    /// Certificates of `authority`, each valid for `validity_seconds`.
    pub fn new(authority: AuthoritySecret, validity_seconds: u32) -> Self {
        Self(Arc::new(Inner { authority, validity_seconds, newest: Mutex::default() }))
    }

    /// One that is good for half its validity at least.
    pub fn current(&self) -> Arc<ServerIdentity> {
        self.at(clock::unix_now_seconds())
    }

    fn at(&self, unix_now: u32) -> Arc<ServerIdentity> {
        let Inner { authority, validity_seconds, newest } = &*self.0;
        let mut newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back makes a new one too: the old one is not valid yet.
        let is_fresh = |issued: &&Issued| {
            (issued.at..=issued.at.saturating_add(validity_seconds / 2)).contains(&unix_now)
        };
        if let Some(issued) = newest.as_ref().filter(is_fresh) {
            return Arc::clone(&issued.identity);
        }
        let seed = clock::fresh_seed();
        let identity =
            Arc::new(ServerIdentity::certified(authority, *validity_seconds, seed, unix_now));
        *newest = Some(Issued { identity: Arc::clone(&identity), at: unix_now });
        identity
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_certificate_serves_for_half_its_validity_and_not_after_the_clock_was_set_back() {
        let authority = AuthoritySecret::generate(&mut StdRng::seed_from_u64(1));
        let certificates = Certificates::new(authority, 3_600);
        let first = certificates.at(1_000_000);
        let is_first = |identity: &Arc<ServerIdentity>| Arc::ptr_eq(identity, &first);
        assert!(is_first(&certificates.at(1_001_800)));
        assert!(!is_first(&certificates.at(999_000)));
        let first = certificates.at(2_000_000);
        assert!(!Arc::ptr_eq(&first, &certificates.at(2_001_801)));
    }
}
