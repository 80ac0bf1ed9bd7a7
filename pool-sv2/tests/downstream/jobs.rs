//! Spec 5.3.15 to 5.3.17: jobs reach every channel, in order.

use mining::target::Target;
use wire::sv2::mining::Mining;
use wire::sv2::setup::REQUIRES_STANDARD_JOBS;

use crate::miner::{HARD, TIP_TIME, Table};

#[test]
fn the_first_job_is_a_future_one_and_the_prev_hash_activates_it() {
    let mut table = Table::ready(0);
    let extended = table.open_extended();
    assert_eq!(extended.job.min_ntime, None);
    assert_eq!(extended.prev_hash.job_id, extended.job.job_id);
    assert_eq!(extended.prev_hash.prev_hash, [1; 32]);
    let standard = table.open_standard();
    assert_eq!(standard.job.min_ntime, None);
    assert_eq!(standard.prev_hash.job_id, standard.job.job_id);
    assert_eq!(standard.prev_hash.channel_id, standard.channel.channel_id);
}

#[test]
fn a_new_tip_reaches_the_group_as_one_future_job_and_one_prev_hash() {
    let mut table = Table::ready(0);
    let group = table.open_extended().channel.group_channel_id;
    table.open_standard();
    table.work(2, 2, HARD);
    let Mining::NewExtendedMiningJob(job) = table.message() else { panic!() };
    let Mining::SetNewPrevHash(prev_hash) = table.message() else { panic!() };
    table.assert_silent();
    assert_eq!((job.channel_id, job.min_ntime), (group, None));
    assert_eq!((prev_hash.channel_id, prev_hash.job_id), (group, job.job_id));
    assert_eq!(prev_hash.prev_hash, [2; 32]);
    assert_eq!(prev_hash.min_ntime, TIP_TIME);
}

#[test]
fn a_better_template_on_the_same_tip_is_an_active_job() {
    let mut table = Table::ready(0);
    let open = table.open_extended();
    table.work(1, 2, HARD);
    let Mining::NewExtendedMiningJob(job) = table.message() else { panic!() };
    table.assert_silent();
    assert_eq!(job.min_ntime, Some(TIP_TIME));
    assert_ne!(job.job_id, open.job.job_id);
    assert_ne!(job.coinbase_tx_suffix, open.job.coinbase_tx_suffix);
}

#[test]
fn where_standard_jobs_are_required_each_channel_gets_its_own() {
    let mut table = Table::ready(REQUIRES_STANDARD_JOBS);
    let a = table.open_standard();
    let b = table.open_standard();
    assert_ne!(a.job.merkle_root, b.job.merkle_root, "two channels search the same space");
    table.work(2, 2, HARD);
    for open in [&a, &b] {
        let Mining::NewMiningJob(job) = table.message() else { panic!() };
        let Mining::SetNewPrevHash(prev_hash) = table.message() else { panic!() };
        assert_eq!((job.channel_id, job.min_ntime), (open.channel.channel_id, None));
        assert_eq!(prev_hash.channel_id, open.channel.channel_id);
        assert_eq!(prev_hash.job_id, job.job_id);
    }
    table.work(2, 3, HARD);
    for open in [&a, &b] {
        let Mining::NewMiningJob(job) = table.message() else { panic!() };
        assert_eq!(job.channel_id, open.channel.channel_id);
        assert!(job.min_ntime.is_some());
    }
    table.assert_silent();
}

#[test]
fn a_standard_job_has_the_merkle_root_of_its_groups_extended_job() {
    let mut table = Table::ready(0);
    let extended = table.open_extended();
    let standard = table.open_standard();
    let coinbase = [
        extended.job.coinbase_tx_prefix.as_slice(),
        standard.channel.extranonce_prefix.as_slice(),
        extended.job.coinbase_tx_suffix.as_slice(),
    ]
    .concat();
    let txid = mining::hash::double_sha256(&coinbase);
    let root = mining::merkle::root_from_path(txid, extended.job.merkle_path.as_slice());
    assert_eq!(standard.job.merkle_root, root);
}

#[test]
fn a_job_id_is_never_used_twice_on_a_connection() {
    let mut table = Table::ready(0);
    let mut ids = vec![table.open_extended().job.job_id, table.open_standard().job.job_id];
    for (tip, template) in [(2, 2), (2, 3), (3, 4), (3, 5)] {
        table.work(tip, template, HARD);
        while let Some(frame) = table.try_frame() {
            if let Ok(Mining::NewExtendedMiningJob(job)) =
                Mining::decode(frame.header.message_type, &frame.payload)
            {
                ids.push(job.job_id);
            }
        }
    }
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    assert_eq!(ids.len(), 6);
}

#[test]
fn no_target_is_harder_than_a_block() {
    let mut table = Table::new();
    let network = 0x1d00_ffff;
    table.work(1, 1, network);
    table.set_up(0);
    table.send(&wire::sv2::mining::OpenExtendedMiningChannel {
        nominal_hash_rate: 1e18,
        ..crate::miner::extended_request(1)
    });
    let Mining::OpenExtendedMiningChannelSuccess(channel) = table.message() else { panic!() };
    assert_eq!(Target::from_le_bytes(channel.target), Target::from_nbits(network).unwrap());
}
