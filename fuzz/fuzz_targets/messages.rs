//! Every message of ours against SRI's: the same bytes are read or refused by both, and written the
//! same again.
//!
//! The first byte of the input chooses the message, the rest is its payload.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stratum_core::binary_sv2::{from_bytes, to_bytes};
use stratum_core::{
    common_messages_sv2 as common, mining_sv2 as mining, template_distribution_sv2 as tdp,
};
use wire::sv2::message::Message;
use wire::sv2::{mining as our_mining, setup, template};

/// What is read and written again; none where the payload is refused.
fn ours<M: Message>(payload: &[u8]) -> Option<Vec<u8>> {
    M::from_payload(payload).ok().map(|message| message.to_payload().to_vec())
}

/// Where SetupConnection stands in the list below. SRI cannot read one for a protocol that it does
/// not know (3 and above); ours is read, for it must be answered (spec 3.6.3).
const SETUP_CONNECTION: u8 = 21;
const PROTOCOLS: u8 = 3;

macro_rules! compare {
    ($kind:expr, $payload:expr; $( $ours:ty, $sri:ty; )*) => {{
        let compare: &[fn(&[u8])] = &[$(
            |payload| {
                let mut copy = payload.to_vec();
                let read: Result<$sri, _> = from_bytes(&mut copy);
                let theirs = read.and_then(to_bytes).ok();
                assert_eq!(ours::<$ours>(payload), theirs, "{}", <$ours>::NAME);
            },
        )*];
        if let Some(compare) = compare.get(usize::from($kind)) {
            compare($payload);
        }
    }};
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, payload)) = data.split_first() else { return };
    if *kind == SETUP_CONNECTION && payload.first().is_some_and(|protocol| *protocol >= PROTOCOLS) {
        return;
    }
    compare! { *kind, payload;
        our_mining::SubmitSharesStandard, mining::SubmitSharesStandard;
        our_mining::SubmitSharesExtended, mining::SubmitSharesExtended<'_>;
        our_mining::SubmitSharesSuccess, mining::SubmitSharesSuccess;
        our_mining::SubmitSharesError, mining::SubmitSharesError<'_>;
        our_mining::NewMiningJob, mining::NewMiningJob<'_>;
        our_mining::NewExtendedMiningJob, mining::NewExtendedMiningJob<'_>;
        our_mining::SetNewPrevHash, mining::SetNewPrevHash<'_>;
        our_mining::SetTarget, mining::SetTarget<'_>;
        our_mining::OpenStandardMiningChannel, mining::OpenStandardMiningChannel<'_>;
        our_mining::OpenStandardMiningChannelSuccess, mining::OpenStandardMiningChannelSuccess<'_>;
        our_mining::OpenExtendedMiningChannel, mining::OpenExtendedMiningChannel<'_>;
        our_mining::OpenExtendedMiningChannelSuccess, mining::OpenExtendedMiningChannelSuccess<'_>;
        our_mining::OpenMiningChannelError, mining::OpenMiningChannelError<'_>;
        our_mining::UpdateChannel, mining::UpdateChannel<'_>;
        our_mining::UpdateChannelError, mining::UpdateChannelError<'_>;
        our_mining::CloseChannel, mining::CloseChannel<'_>;
        our_mining::SetExtranoncePrefix, mining::SetExtranoncePrefix<'_>;
        our_mining::SetGroupChannel, mining::SetGroupChannel<'_>;
        our_mining::SetCustomMiningJob, mining::SetCustomMiningJob<'_>;
        our_mining::SetCustomMiningJobSuccess, mining::SetCustomMiningJobSuccess;
        our_mining::SetCustomMiningJobError, mining::SetCustomMiningJobError<'_>;
        setup::SetupConnection, common::SetupConnection<'_>;
        setup::SetupConnectionSuccess, common::SetupConnectionSuccess;
        setup::SetupConnectionError, common::SetupConnectionError<'_>;
        setup::ChannelEndpointChanged, common::ChannelEndpointChanged;
        setup::Reconnect, common::Reconnect<'_>;
        template::CoinbaseOutputConstraints, tdp::CoinbaseOutputConstraints;
        template::NewTemplate, tdp::NewTemplate<'_>;
        template::SetNewPrevHash, tdp::SetNewPrevHash<'_>;
        template::RequestTransactionData, tdp::RequestTransactionData;
        template::RequestTransactionDataSuccess, tdp::RequestTransactionDataSuccess<'_>;
        template::RequestTransactionDataError, tdp::RequestTransactionDataError<'_>;
        template::SubmitSolution, tdp::SubmitSolution<'_>;
    }
});
