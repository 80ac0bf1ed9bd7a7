//! The extensions that this pool speaks: their negotiation (0x0001) and the worker's name in each
//! share (0x0002).
//!
//! A name of a worker says who of a channel's miners has worked; it never credits anybody but the
//! channel's user.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use mining::room::Room;
use tracing::debug;
use wire::session::PeerError;
use wire::sv2::codec::{DecodeError, List};
use wire::sv2::extensions::{
    FIELD_USER_IDENTITY, NEGOTIATION, Negotiation, RequestExtensions, RequestExtensionsError,
    RequestExtensionsSuccess, USER_IDENTITY_BYTES_MAX, WORKER_HASHRATE_TRACKING, find_tlv,
};
use wire::sv2::frame::Frame;
use wire::sv2::message::Message;
use wire::sv2::mining::SubmitSharesExtended;

use super::connection::{Downstream, State};
use crate::shares::Earner;

/// Every extension that this pool speaks. It requires none.
const SUPPORTED: [u16; 2] = [NEGOTIATION, WORKER_HASHRATE_TRACKING];
/// Workers of one channel, and of all channels of a connection, whose names are kept ready. Names
/// of further ones are put together for each share.
const WORKERS_MAX: usize = 1_024;
pub(super) const NAMES_MAX: usize = 16 * WORKERS_MAX;

impl Downstream {
    /// A message that an extension defined. Unknown ones are to be discarded, whether they are
    /// meant for the connection or for a channel, whose endpoint a pool is (spec 3.4.1).
    pub(super) fn handle_extension(&mut self, frame: &Frame) -> Result<(), PeerError> {
        let is_open = matches!(self.state, State::Open { .. });
        if frame.header.extension != NEGOTIATION || !is_open {
            let extension = frame.header.extension;
            debug!(extension, "message of an unknown extension ignored");
            return Ok(());
        }
        match Negotiation::decode(frame.header.message_type, &frame.payload) {
            Ok(Negotiation::RequestExtensions(request)) => self.negotiate(request),
            Ok(other) => {
                debug!(message = other.name(), "message ignored that only a server sends");
                Ok(())
            }
            Err(DecodeError::UnknownMessage(kind)) => {
                debug!(kind, "message of an unknown type ignored");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Success with what is supported, Error if that is none of what was asked for (extension
    /// 0x0001, 4). The last request counts.
    fn negotiate(&mut self, request: RequestExtensions) -> Result<(), PeerError> {
        let request_id = request.request_id;
        let requested = request.requested_extensions.into_vec();
        let supported: Vec<u16> =
            SUPPORTED.into_iter().filter(|known| requested.contains(known)).collect();
        debug!(?supported, "extensions negotiated");
        self.names_workers = supported.contains(&WORKER_HASHRATE_TRACKING);
        if supported.is_empty() && !requested.is_empty() {
            return self.link.send(&RequestExtensionsError {
                request_id,
                unsupported_extensions: List::new(requested).unwrap_or_default(),
                required_extensions: List::default(),
            });
        }
        let supported_extensions = List::new(supported).unwrap_or_default();
        self.link.send(&RequestExtensionsSuccess { request_id, supported_extensions })
    }

    /// A share of an extended channel on a connection where shares name their worker.
    pub(super) fn submit_of_worker(
        &mut self,
        now: Instant,
        payload: &[u8],
    ) -> Result<(), PeerError> {
        let (share, appended) = SubmitSharesExtended::with_appended(payload)?;
        self.submit_extended(now, &share, read_worker(appended))
    }
}

/// Why a share cannot be counted for its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadWorker;

/// The worker that the appended fields name; `""` if they name none. A name that is too long, or is
/// no text without control characters, spoils the message (extension 0x0002, 1.1).
fn read_worker(appended: &[u8]) -> Result<&str, BadWorker> {
    match find_tlv(appended, WORKER_HASHRATE_TRACKING, FIELD_USER_IDENTITY) {
        Ok(None) => Ok(""),
        Ok(Some(name)) if name.len() <= USER_IDENTITY_BYTES_MAX => {
            let name = std::str::from_utf8(name).map_err(|_| BadWorker)?;
            if name.chars().any(char::is_control) { Err(BadWorker) } else { Ok(name) }
        }
        _ => Err(BadWorker),
    }
}

/// Who is credited on one channel: its user, and the workers that its shares named.
#[derive(Debug)]
pub(super) struct Credited {
    earner: Arc<Earner>,
    workers: HashMap<Box<str>, Arc<Earner>>,
    /// For names, with the other channels of the connection.
    room: Room,
}

impl Credited {
    pub(super) fn new(earner: Earner, room: Room) -> Self {
        Self { earner: Arc::new(earner), workers: HashMap::new(), room }
    }

    /// The channel's own.
    pub(super) fn earner(&self) -> &Arc<Earner> {
        &self.earner
    }

    /// The channel's own with this worker; as it is where none is named.
    pub(super) fn of(&mut self, worker: &str) -> Arc<Earner> {
        if worker.is_empty() {
            return Arc::clone(&self.earner);
        }
        if let Some(known) = self.workers.get(worker) {
            return Arc::clone(known);
        }
        let earner = Arc::new(self.earner.with_worker(worker));
        if self.workers.len() < WORKERS_MAX && self.room.left() > 0 {
            self.room.take();
            self.workers.insert(worker.into(), Arc::clone(&earner));
        }
        earner
    }
}

impl Drop for Credited {
    fn drop(&mut self) {
        self.room.give_back(self.workers.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_are_right_and_not_kept() {
        let room = Room::new(WORKERS_MAX + 1);
        let mut credited = Credited::new(Earner::named("farm", ""), room.clone());
        for index in 0..WORKERS_MAX + 10 {
            let name = credited.of(&format!("rig{index}"));
            assert_eq!(name.to_string(), format!("farm.rig{index}"));
        }
        assert_eq!(credited.workers.len(), WORKERS_MAX);
        assert_eq!(credited.of("").to_string(), "farm");
        let mut beside = Credited::new(Earner::named("farm", ""), room.clone());
        assert_eq!(["a", "b"].map(|name| beside.of(name).to_string()), ["farm.a", "farm.b"]);
        assert_eq!((beside.workers.len(), room.left()), (1, 0));
        drop(credited);
        assert_eq!(room.left(), WORKERS_MAX);
    }
}
