//! What a miner asks for when it opens a channel, standard or extended (spec 5.3.2, 5.3.4).

use mining::target::Target;
use wire::sv2::codec::Str255;
use wire::sv2::mining::{OpenExtendedMiningChannel, OpenStandardMiningChannel};

/// A request for a channel of either kind.
#[derive(Debug)]
pub(super) struct OpenRequest {
    pub(super) request_id: u32,
    pub(super) user_identity: Str255,
    pub(super) nominal_hash_rate: f32,
    pub(super) max_target: Target,
    pub(super) kind: Kind,
}

/// What kind of channel is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Standard,
    Extended { min_extranonce_bytes: usize },
}

impl Kind {
    /// As in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended { .. } => "extended",
        }
    }
}

impl OpenRequest {
    pub(super) fn standard(request: OpenStandardMiningChannel) -> Self {
        Self {
            request_id: request.request_id,
            user_identity: request.user_identity,
            nominal_hash_rate: request.nominal_hash_rate,
            max_target: Target::from_le_bytes(request.max_target),
            kind: Kind::Standard,
        }
    }

    pub(super) fn extended(request: OpenExtendedMiningChannel) -> Self {
        Self {
            request_id: request.request_id,
            user_identity: request.user_identity,
            nominal_hash_rate: request.nominal_hash_rate,
            max_target: Target::from_le_bytes(request.max_target),
            kind: Kind::Extended { min_extranonce_bytes: request.min_extranonce_size.into() },
        }
    }
}
