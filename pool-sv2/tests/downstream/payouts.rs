//! Whom the blocks of a connection's channels pay, where they pay their finders.

use bitcoin::Network;
use bitcoin::consensus::deserialize;
use pool_sv2::downstream::connection::{Event, Settings};
use pool_sv2::payout::identity::{Identities, Mode, read_address};
use wire::sv2::mining::{CloseChannel, Mining, OpenExtendedMiningChannel, OpenMiningChannelError};
use wire::sv2::setup::REQUIRES_STANDARD_JOBS;

use crate::miner::{HARD, OpenExtended, REGTEST, Table, extended_request};

/// BIP173's and BIP350's examples, on regtest.
const ANN: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const BOB: &str = "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6";

/// A connection on a port whose blocks pay their finders.
fn solo(flags: u32) -> Table {
    let mut table = Table::with_settings(|settings: &mut Settings| {
        settings.identities =
            Identities { mode: Mode::Solo, ..Identities::of_the_pool(Network::Regtest) };
    });
    table.work(1, 1, HARD);
    table.set_up(flags);
    table
}

fn script(address: &str) -> Vec<u8> {
    read_address(address, Network::Regtest).unwrap().script.into_bytes()
}

fn pays(open: &OpenExtended, address: &str) -> bool {
    let script = script(address);
    open.job.coinbase_tx_suffix.as_slice().windows(script.len()).any(|part| part == script)
}

/// Spec 5.2.3: channels with the same jobs are in one group, and others are not.
#[test]
fn each_finder_has_a_group_of_his_own() {
    let mut table = solo(0);
    let [ann, bob, rig] =
        [ANN, BOB, &format!("{ANN}.rig")].map(|name| table.open_extended_as(name));
    assert!(pays(&ann, ANN) && pays(&bob, BOB) && pays(&rig, ANN));
    assert!(!pays(&ann, BOB) && !pays(&bob, ANN));
    assert_eq!(ann.channel.group_channel_id, rig.channel.group_channel_id);
    assert_ne!(ann.channel.group_channel_id, bob.channel.group_channel_id);
}

/// Spec 5.2.3: whoever shares blocks has the same jobs, whatever his account.
#[test]
fn all_who_share_blocks_are_in_one_group() {
    let mut table = Table::with_settings(|settings: &mut Settings| {
        settings.identities =
            Identities { mode: Mode::Pplns, ..Identities::of_the_pool(Network::Regtest) };
    });
    table.work(1, 1, HARD);
    table.set_up(0);
    let (ann, bob) = (table.open_extended_as(ANN), table.open_extended_as(&format!("{BOB}.rig")));
    assert_eq!(ann.channel.group_channel_id, bob.channel.group_channel_id);
    assert_eq!(ann.job.coinbase_tx_suffix, bob.job.coinbase_tx_suffix);
}

/// Spec 5.3.16, 5.3.17: a group's job and prev hash hold for all of its channels, and no others.
#[test]
fn a_new_tip_gives_each_group_its_own_job() {
    let mut table = solo(0);
    let (ann, bob) = (table.open_extended_as(ANN), table.open_extended_as(BOB));
    table.work(2, 2, REGTEST);
    for open in [ann, bob] {
        let Mining::NewExtendedMiningJob(job) = table.message() else { panic!("no job") };
        let Mining::SetNewPrevHash(prev_hash) = table.message() else { panic!("no prev hash") };
        assert_eq!(job.channel_id, open.channel.group_channel_id);
        assert_eq!(prev_hash.channel_id, open.channel.group_channel_id);
        assert_eq!(prev_hash.job_id, job.job_id);
    }
    table.assert_silent();
    table.work(2, 3, REGTEST);
    for _ in 0..2 {
        assert!(matches!(table.message(), Mining::NewExtendedMiningJob(_)), "a better template");
    }
    table.assert_silent();
}

#[test]
fn a_block_pays_who_found_it() {
    for flags in [0, REQUIRES_STANDARD_JOBS] {
        let mut table = solo(flags);
        table.work(2, 2, REGTEST);
        match flags {
            0 => {
                let open = table.open_extended_as(BOB);
                (0..32).for_each(|nonce| table.send(&open.share(nonce)));
            }
            _ => {
                let open = table.open_standard_as(BOB);
                (0..32).for_each(|nonce| table.send(&open.share(nonce)));
            }
        }
        let events = std::mem::take(&mut table.pair.server.events);
        let found = events.into_iter().find_map(|event| match event {
            Event::Block(solution) => Some(solution),
            _ => None,
        });
        let coinbase: bitcoin::Transaction = deserialize(&found.unwrap().coinbase).unwrap();
        let paid: Vec<_> = coinbase.output.iter().map(|output| output.value.to_sat()).collect();
        assert_eq!(paid, [5_000_000_002]);
        assert_eq!(coinbase.output[0].script_pubkey.as_bytes(), script(BOB));
    }
}

/// Spec 5.3.9: to close a group closes all of its channels.
#[test]
fn to_close_a_group_leaves_the_other_groups_channels_open() {
    let mut table = solo(0);
    let (ann, bob) = (table.open_extended_as(ANN), table.open_extended_as(BOB));
    let channel_id = ann.channel.group_channel_id;
    table.send(&CloseChannel { channel_id, reason_code: "".into() });
    assert_eq!(table.pair.server.session.channels(), 1);
    table.work(2, 2, HARD);
    let Mining::NewExtendedMiningJob(job) = table.message() else { panic!("no job") };
    assert_eq!(job.channel_id, bob.channel.group_channel_id);
    assert!(matches!(table.message(), Mining::SetNewPrevHash(_)));
    table.assert_silent();
}

/// Spec 5.3.6: `invalid-user-identity` for whom no block could pay.
#[test]
fn a_name_that_cannot_be_paid_gets_no_channel() {
    let mut table = solo(0);
    for name in ["miner.a", "", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "sri/solo/x/y"] {
        let user_identity = name.into();
        table.send(&OpenExtendedMiningChannel { user_identity, ..extended_request(7) });
        let error_code = "invalid-user-identity".into();
        let refusal = OpenMiningChannelError { request_id: 7, error_code };
        assert_eq!(table.message(), Mining::OpenMiningChannelError(refusal), "{name}");
    }
}

#[test]
fn groups_without_channels_are_not_kept_for_ever() {
    let mut table = solo(0);
    let kept = table.open_extended_as(BOB);
    for round in 0..20 {
        let name = format!("sri/donate/{}/{ANN}/rig", round + 1);
        let open = table.open_extended_as(&name);
        let channel_id = open.channel.channel_id;
        table.send(&CloseChannel { channel_id, reason_code: "".into() });
    }
    table.work(2, 2, HARD);
    let mut frames = 0;
    while let Some(frame) = table.try_frame() {
        assert_eq!(frame.payload[..4], kept.channel.group_channel_id.to_le_bytes());
        frames += 1;
    }
    assert_eq!(frames, 2, "a group without channels is not spoken to");
}
