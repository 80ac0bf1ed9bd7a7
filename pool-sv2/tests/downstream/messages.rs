//! Spec 3.2 and 3.6: messages that a pool need not know, or that come where they have no business.

use testkit::pair::Ended;
use wire::sv2::codec::{Blob, List, Str255};
use wire::sv2::frame::EncodedFrame;
use wire::sv2::mining::{
    ERROR_JD_NOT_SUPPORTED, Mining, SetCustomMiningJob, SetGroupChannel, SetTarget,
};
use wire::sv2::setup::{ChannelEndpointChanged, Reconnect};

use crate::miner::Table;

/// Spec 8: a message of an unknown type is ignored, and what follows it is served.
#[test]
fn a_message_of_an_unknown_type_is_ignored() {
    let mut table = Table::ready(0);
    for message_type in [0x05, 0x1e, 0x30, 0x50, 0x70, 0xff] {
        for channel_msg in [false, true] {
            let frame = EncodedFrame::of_unknown(0, channel_msg, message_type, vec![0; 8]);
            table.pair.command_client(frame);
        }
    }
    table.assert_silent();
    table.open_extended();
}

/// Spec 3.6.4: ChannelEndpointChanged resets what extensions keep of a channel; those that are
/// spoken here keep nothing.
#[test]
fn a_changed_endpoint_of_a_channel_ends_nothing() {
    let mut table = Table::ready(0);
    let open = table.open_extended();
    table.send(&ChannelEndpointChanged { channel_id: open.channel.channel_id });
    table.send(&open.share(1));
    assert!(table.pair.server.event().is_some());
    table.assert_silent();
}

/// Spec 5.3: what only a server sends is ignored when a client sends it.
/// Flaw 13: no message makes a miner more than a miner.
#[test]
fn a_servers_message_from_a_client_is_ignored() {
    let mut table = Table::ready(0);
    let open = table.open_extended();
    let channel_id = open.channel.channel_id;
    table.send(&SetTarget { channel_id, maximum_target: [0; 32] });
    table.send(&SetGroupChannel { group_channel_id: 7, channel_ids: List::default() });
    table.send(&Reconnect { new_host: Str255::default(), new_port: 0 });
    table.assert_silent();
    table.send(&open.share(1));
    assert!(table.pair.server.event().is_some());
}

/// Spec 5.3.18: SetCustomMiningJob without REQUIRES_WORK_SELECTION is refused, with its request_id.
#[test]
fn a_custom_job_is_refused_with_its_request() {
    let mut table = Table::ready(0);
    let channel_id = table.open_extended().channel.channel_id;
    table.send(&SetCustomMiningJob {
        channel_id,
        request_id: 77,
        mining_job_token: Blob::new(vec![1]).unwrap(),
        version: 0x2000_0000,
        prev_hash: [1; 32],
        min_ntime: 0,
        nbits: 0,
        coinbase_tx_version: 2,
        coinbase_prefix: Blob::default(),
        coinbase_tx_input_n_sequence: 0,
        coinbase_tx_outputs: Blob::default(),
        coinbase_tx_locktime: 0,
        merkle_path: List::default(),
    });
    let Mining::SetCustomMiningJobError(error) = table.message() else { panic!("no error") };
    assert_eq!((error.channel_id, error.request_id), (channel_id, 77));
    assert_eq!(error.error_code, ERROR_JD_NOT_SUPPORTED.into());
}

/// Spec 3.2: a message that ends inside a field is none; its connection ends, and no other.
#[test]
fn a_message_that_ends_early_ends_the_connection() {
    let mut table = Table::ready(0);
    let other = Table::ready(0);
    table.pair.command_client(EncodedFrame::of_unknown(0, true, 0x1b, vec![0; 20]));
    assert!(matches!(table.pair.server.ended, Some(Ended::Failed(_))));
    assert!(other.pair.server.ended.is_none());
}

/// Spec 3.5: error and reason codes are printable ASCII, and documented.
#[test]
fn every_code_is_printable_and_explained() {
    let sources = [
        include_str!("../../../shared/wire/src/sv2/setup.rs"),
        include_str!("../../../shared/wire/src/sv2/mining.rs"),
        include_str!("../../src/downstream/close.rs"),
        include_str!("../../src/downstream/conduct.rs"),
        include_str!("../../src/downstream/submit.rs"),
    ];
    let document = include_str!("../../../docs/conformance.md");
    let codes: Vec<_> = sources.into_iter().flat_map(codes).collect();
    assert_eq!(codes.len(), 23, "{codes:?}");
    for code in codes {
        assert!(code.bytes().all(|byte| byte.is_ascii_graphic()), "{code}");
        assert!(document.contains(&format!("| `{code}` |")), "{code} is not explained");
    }
}

/// The values of a file's `ERROR_*` and `REASON_*`.
fn codes(source: &str) -> impl Iterator<Item = &str> {
    let parts = source.split("const ").skip(1);
    let named = parts.filter(|part| part.starts_with("ERROR_") || part.starts_with("REASON_"));
    named.filter_map(|part| part.split('"').nth(1))
}
