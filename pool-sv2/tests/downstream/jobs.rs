//! Spec 5.3.15 to 5.3.17: jobs reach every channel, in order.

use std::sync::Arc;
use std::time::Duration;

use mining::coinbase::Output;
use mining::job::Job;
use mining::target::Target;
use mining::template::Template;
use pool_sv2::downstream::connection::Command;
use pool_sv2::tip_reach::Reached;
use pool_sv2::work::Work;
use wire::sv2::mining::Mining;
use wire::sv2::setup::REQUIRES_STANDARD_JOBS;

use crate::miner::{HARD, TIP_TIME, Table, work};

/// Spec 5.3.15: the first message of an open channel is a future job; SetNewPrevHash follows.
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

/// Spec 5.3.17: SetNewPrevHash names a future job that was sent before on the same channel or
/// group.
/// Spec 5.2.3: a group gets one job and one SetNewPrevHash for all its members.
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
fn it_is_known_how_long_the_newest_tip_took_to_the_last_connection() {
    let mut reach = None;
    let mut table = Table::with_settings(|settings| reach = Some(settings.tip_reach.clone()));
    let reach = reach.unwrap();
    table.work(1, 1, HARD);
    table.set_up(0);
    table.open_extended();
    assert_eq!(reach.newest(), Reached::default(), "a connection that comes later waits for none");

    let late = Duration::from_millis(7);
    let work = work(2, 2, HARD, table.pair.now);
    table.pair.now += late;
    table.pair.command_server(Command::Work(Arc::new(work)));
    let expected = Reached { connections: 1, last: late };
    assert_eq!(reach.newest(), expected);
    table.work(2, 3, HARD);
    assert_eq!(reach.newest(), expected, "a better template is no tip");
}

/// Spec 5.3.16: a job for the present tip has min_ntime.
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

/// Spec 5.3.1: REQUIRES_STANDARD_JOBS: each channel gets NewMiningJob, and nothing is sent to a
/// group.
/// Firmware: NewExtendedMiningJob never reaches a connection with REQUIRES_STANDARD_JOBS.
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

/// Spec 5.1.2.1: coinbase_tx_prefix, extranonce_prefix and coinbase_tx_suffix make the coinbase of
/// a standard channel; the prefix holds the length of the scriptSig.
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

/// Spec 5.3.16: no valid job's id is given to another job of the channel.
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

/// Spec 5.3.21: no share takes more than a block, so that none is missed.
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

/// Spec 3.7.1: the coinbase of NewExtendedMiningJob is stripped of marker, flag and witness.
/// Firmware: coinbase_tx_prefix and coinbase_tx_suffix are hashed as they are.
#[test]
fn the_coinbase_of_a_job_has_no_witness() {
    let open = Table::ready(0).open_extended();
    let coinbase =
        [open.job.coinbase_tx_prefix.as_slice(), &[0; 12], open.job.coinbase_tx_suffix.as_slice()]
            .concat();
    // Version, then the number of inputs; where BIP141 is in it, a marker of 0 stands there.
    assert_eq!(coinbase[4], 1);
    let locktime = coinbase.len() - 4;
    assert_eq!(coinbase[locktime..], [0; 4]);
    assert_eq!(coinbase[locktime - 1], 0x51, "the payout's script ends the outputs");
}

/// Spec 5.3.21: where blocks become easier, channels are told before the new tip's job, so that
/// every block is a share.
#[test]
fn no_channel_keeps_a_target_harder_than_a_block_when_the_network_gets_easier() {
    let mut table = Table::ready(0);
    table.send(&wire::sv2::mining::OpenExtendedMiningChannel {
        nominal_hash_rate: 1e18,
        ..crate::miner::extended_request(1)
    });
    let Mining::OpenExtendedMiningChannelSuccess(hard) = table.message() else { panic!() };
    table.frame();
    table.frame();
    table.open_extended();
    let easier = 0x1d00_ffff;
    table.work(2, 2, easier);
    let Mining::SetTarget(target) = table.message() else { panic!("no SetTarget") };
    assert_eq!(target.channel_id, hard.channel_id);
    let block = Target::from_nbits(easier).unwrap();
    assert_eq!(Target::from_le_bytes(target.maximum_target), block);
    assert!(matches!(table.message(), Mining::NewExtendedMiningJob(_)));
    assert!(matches!(table.message(), Mining::SetNewPrevHash(_)));
    table.assert_silent();
}

/// Firmware: a job never has the content of one before it, for devices begin at the first nonce.
#[test]
fn a_job_that_follows_set_target_starts_at_another_ntime() {
    let mut table = Table::ready(0);
    let open = table.open_extended();
    let channel_id = open.channel.channel_id;
    let mut ntimes = vec![open.prev_hash.min_ntime];
    for difficulty in [1_000.0, 2_000.0, 4_000.0] {
        let maximum_target = Target::from_difficulty(difficulty).to_le_bytes();
        let nominal_hash_rate = 0.0;
        table.send(&wire::sv2::mining::UpdateChannel {
            channel_id,
            nominal_hash_rate,
            maximum_target,
        });
        assert!(matches!(table.message(), Mining::SetTarget(_)));
        let Mining::NewExtendedMiningJob(job) = table.message() else { panic!("no job") };
        ntimes.push(job.min_ntime.unwrap());
    }
    assert!(ntimes.is_sorted_by(|a, b| a < b), "{ntimes:?}");
}

/// Firmware: what the pool sends by itself fits into 2,048 bytes, with 20 merkle branches, the
/// longest coinbase tag and the longest script of an address. Current firmware takes 8,192.
/// Flaw 28: coinbases stay small enough for the devices in the field.
#[test]
fn the_largest_job_of_a_plain_template_fits_into_small_devices() {
    let tag = [b'x'; 60];
    let commitment = [[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed].as_slice(), &[0; 32]].concat();
    let outputs = [(0_u64, commitment)].map(|(value, script)| {
        let length = u8::try_from(script.len()).unwrap();
        [value.to_le_bytes().as_slice(), &[length], &script].concat()
    });
    let (tip, template) = crate::miner::template(1, 1, HARD);
    let template = Template {
        merkle_path: vec![[8; 32]; 20],
        outputs_count: 1,
        outputs: outputs.concat().into(),
        ..template
    };
    let script = vec![0x51; 42].into();
    let payout = Output { value: template.value_remaining, script };
    let job = Job::new(tip.into(), template.into(), &tag, &[payout]).unwrap();
    let work = Work::new(job.into(), 0, TIP_TIME, std::time::Instant::now()).unwrap();
    assert!(work.active_job.payload_len() < 2_048, "{} bytes", work.active_job.payload_len());
}

/// Firmware: an extranonce has 2 to 32 rollable bytes, and a prefix of at most 32, whatever is
/// asked for.
#[test]
fn extranonce_sizes_are_what_small_devices_hold() {
    for min_extranonce_size in 0..=10 {
        let mut table = Table::ready(0);
        table.send(&wire::sv2::mining::OpenExtendedMiningChannel {
            min_extranonce_size,
            ..crate::miner::extended_request(1)
        });
        let Mining::OpenExtendedMiningChannelSuccess(open) = table.message() else { panic!() };
        assert!((2..=32).contains(&open.extranonce_size), "{}", open.extranonce_size);
        assert!(open.extranonce_size >= min_extranonce_size);
    }
}

/// Firmware: targets are little-endian.
#[test]
fn the_target_of_a_channel_is_little_endian() {
    let mut table = Table::with_min_difficulty(65_535.0);
    table.work(1, 1, HARD);
    table.set_up(0);
    let target = table.open_extended().channel.target;
    // 0xffff * 2^208 / 0xffff = 2^208: bit 0 of the 27th byte from the low end.
    let expected: [u8; 32] = std::array::from_fn(|at| u8::from(at == 26));
    assert_eq!(target, expected);
}
