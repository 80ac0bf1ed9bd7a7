//! What people are shown of a miner, from what its session tells.

use super::Event;
use crate::register::Registered;

/// Notes what a session tells.
pub(super) fn note(entry: &Registered, event: &Event) {
    match event {
        Event::Authorized { worker, agent } => entry.authorized(worker, agent),
        Event::Named { agent } => entry.named(agent),
        Event::Hashrate(hashrate) => entry.hashrate(hashrate.hashes),
        Event::Difficulty(difficulty) => entry.difficulty(*difficulty),
        Event::CoinbaseTooLong { kind, bytes } => {
            entry.too_long((kind.name, kind.coinbase_bytes_max), *bytes);
        }
        Event::Answered { answer: Ok(()), is_upstreams, .. } => entry.accepted(*is_upstreams),
        Event::Answered { answer: Err(error), .. } => entry.refused(error.reason()),
        Event::LateVerdict { outcome: Ok(()) } => entry.confirmed(),
        // It was counted as accepted when it was answered.
        Event::LateVerdict { outcome: Err(error) } => entry.refused_late(error.reason()),
        Event::Resumed
        | Event::SlowedDown
        | Event::Submit { .. }
        | Event::SubmitBlock { .. }
        | Event::BlockFound { .. } => {}
    }
}
