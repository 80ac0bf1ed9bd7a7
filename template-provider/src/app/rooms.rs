//! What clients and extensions need in the coinbase, kept for the nodes that can be told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::node::Node;
use crate::node::reserve::{Reserve, Reserved};
use crate::templates::build::{Extensions, output_bytes_max};
use crate::templates::trim::Room;

/// What a client can make the node leave for everybody: one percent of a block, a payout to 300
/// scripts. Who needs more has templates trimmed, at no cost to others.
const OUTPUT_BYTES_MAX: u32 = 10_000;
/// The same in signature operations.
const OUTPUT_SIGOPS_MAX: u16 = 200;

/// The rooms of all clients that are connected; as many as there may be clients.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    rooms: Arc<Mutex<HashMap<SocketAddr, Room>>>,
    /// Bytes of the extensions' outputs.
    extension_bytes: u32,
    reserve: watch::Sender<Option<Reserve>>,
}

impl Rooms {
    /// No client yet; the extensions' outputs stand beside those of each.
    pub(super) fn beside(extensions: &Extensions) -> Self {
        Self {
            rooms: Arc::default(),
            extension_bytes: output_bytes_max(extensions),
            reserve: watch::Sender::new(None),
        }
    }

    /// The nodes, which are told from now on: the largest bytes and sigops of any client, with the
    /// extensions'; nothing while there is no client.
    pub(super) fn tell(&self, nodes: &[Node]) -> Arc<[Node]> {
        let reserved = Reserved::following(self.reserve.subscribe());
        nodes.iter().map(|node| node.clone().reserving(reserved.clone())).collect()
    }

    /// The client of this address needs `room` from now on.
    pub(super) fn set(&self, peer: SocketAddr, room: Room) {
        let room = Room {
            output_bytes: room.output_bytes.min(OUTPUT_BYTES_MAX),
            output_sigops: room.output_sigops.min(OUTPUT_SIGOPS_MAX),
        };
        self.change(|rooms| {
            rooms.insert(peer, room);
        });
    }

    /// The client of this address is gone.
    pub(super) fn remove(&self, peer: SocketAddr) {
        self.change(|rooms| {
            rooms.remove(&peer);
        });
    }

    /// Enough for each client that is there, with the largest bytes and sigops of any.
    pub(super) fn widest(&self) -> Room {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        widest(&rooms).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<SocketAddr, Room>)) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut rooms);
        let reserve = widest(&rooms).map(|widest| Reserve {
            output_bytes: widest.output_bytes.saturating_add(self.extension_bytes),
            output_sigops: widest.output_sigops.into(),
        });
        // Still under the lock: the last to change is the last to say.
        self.reserve.send_replace(reserve);
    }
}

/// `None` if there are none.
fn widest(rooms: &HashMap<SocketAddr, Room>) -> Option<Room> {
    let output_bytes = rooms.values().map(|room| room.output_bytes).max()?;
    let output_sigops = rooms.values().map(|room| room.output_sigops).max()?;
    Some(Room { output_bytes, output_sigops })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_room_is_enough_for_each_client() {
        let rooms = Rooms::beside(&Extensions::from([]));
        assert_eq!(rooms.widest(), Room::default());
        for (port, output_bytes, output_sigops) in [(1, 100, 4), (2, 43, 9)] {
            let peer = SocketAddr::from(([127, 0, 0, 1], port));
            rooms.set(peer, Room { output_bytes, output_sigops });
        }
        assert_eq!(rooms.widest(), Room { output_bytes: 100, output_sigops: 9 });
    }

    #[test]
    fn the_largest_needs_of_those_who_are_there_count() {
        let rooms = Rooms { extension_bytes: 48, ..Rooms::beside(&Extensions::from([])) };
        let reserve = rooms.reserve.subscribe();
        let now = || reserve.borrow().map(|now| (now.output_bytes, now.output_sigops));
        let peer = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(now(), None);
        rooms.set(peer(1), Room { output_bytes: 100, output_sigops: 4 });
        rooms.set(peer(2), Room { output_bytes: 43, output_sigops: 9 });
        assert_eq!(now(), Some((148, 9)));
        rooms.set(peer(2), Room { output_bytes: 50, output_sigops: 1 });
        assert_eq!(now(), Some((148, 4)));
        rooms.remove(peer(1));
        assert_eq!(now(), Some((98, 1)));
        rooms.set(peer(1), Room { output_bytes: 998_000, output_sigops: 20_000 });
        assert_eq!(now(), Some((10_048, 200)), "others do not pay for it");
        rooms.remove(peer(1));
        rooms.remove(peer(2));
        assert_eq!(now(), None);
    }
}
