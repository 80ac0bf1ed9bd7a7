//! Whom blocks pay, seen in the node's chain.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use serde_json::json;
use testkit::block::MinedBlock;
use testkit::log::Mark;
use testkit::program::{Program, Programs};
use testkit::wait::until;
use testkit::world::{Paying, Plan, Route, World};

use crate::{SOON, alone};

#[test]
fn a_block_pays_its_finder_and_the_pool_its_fee() -> anyhow::Result<()> {
    let _alone = alone();
    let mut world = Plan::for_test()?.paying(Paying::Finder { fee: 250 }).start()?;
    let finder = world.node.new_address()?;
    let from = world.pool.program.log().end();
    let _device = world.start_device(Route::V2Extended, &format!("{finder}.rig"))?;
    let block = world.wait_for_block(&format!("{finder}.rig"), from, SOON)?;
    let (paid, fee) = (block.check_payout(&finder)?, block.check_payout(&world.payout_address)?);
    assert_eq!(fee.to_sat(), (paid + fee).to_sat() * 250 / 10_000);
    block.check_witness_commitment()?;
    Ok(())
}

#[test]
fn where_shares_are_paid_for_a_block_pays_the_pool_and_the_log_says_what_is_owed()
-> anyhow::Result<()> {
    let _alone = alone();
    let mut world = Plan::for_test()?.paying(Paying::Shares { fee: 100 }).start()?;
    let miner = world.node.new_address()?;
    let from = world.pool.program.log().end();
    let device = world.start_device(Route::V2Extended, &format!("{miner}.rig"))?;
    let block = world.wait_for_block(&format!("{miner}.rig"), from, SOON)?;
    let subsidy = block.check_payout(&world.payout_address)?.to_sat();
    ensure!(block.check_payout(&miner).is_err(), "the block pays the miner too");
    drop(device);
    let earned = until("what the miner has earned", SOON, || {
        let output = pool_command(&world, &["payout", "balances"])?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("{miner}: earned ")));
        Ok(line.and_then(|line| line.split_once(' ')).map(|(earned, _)| earned.to_owned()))
    })?;
    // On regtest each share is a block's work or more.
    ensure!(earned.parse::<u64>()? >= subsidy * 99 / 100, "{earned} sat of {subsidy}");
    let output = pool_command(&world, &["payout", "reserve", "--reserve", "100000000000"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for expected in ["owed now: ", "expected shortfall", "is ever used up: "] {
        ensure!(said.contains(expected), "{expected} in {said}");
    }
    Ok(())
}

/// A world where blocks pay all, the pool two percent.
fn shared_by_all(outputs_max: u16) -> anyhow::Result<Plan> {
    Ok(Plan::for_test()?.paying(Paying::All { fee: 200, outputs_max }))
}

/// It, with devices that mine, each for an address of its own.
fn sharing(plan: Plan, miners: usize) -> anyhow::Result<(World, Vec<String>, Vec<Program>)> {
    let world = plan.start()?;
    let miners = std::iter::repeat_with(|| world.node.new_address()).take(miners);
    let miners: Vec<String> = miners.collect::<Result<_, _>>()?;
    let routes = [Route::V2Extended, Route::V2Standard].into_iter().cycle();
    let devices = miners.iter().zip(routes);
    let devices = devices.map(|(miner, route)| world.start_device(route, &format!("{miner}.rig")));
    let devices = devices.collect::<Result<_, _>>()?;
    Ok((world, miners, devices))
}

/// The blocks of the pool in the node's chain, in the order in which they were found.
fn pools_blocks(world: &World) -> Vec<MinedBlock> {
    let found = world.pool.program.log().events(Mark::default());
    let hashes = found.iter().filter(|event| event.is("block found"));
    hashes.filter_map(|it| MinedBlock::read(&world.node, &it.text("hash")).ok()).collect()
}

/// What the block's coinbase pays to each of `addresses`, in satoshis.
fn paid(block: &MinedBlock, addresses: &[String]) -> BTreeMap<String, u64> {
    let paid = |address: &String| block.check_payout(address).map_or(0, |amount| amount.to_sat());
    addresses.iter().map(|address| (address.clone(), paid(address))).collect()
}

fn pool_command(world: &World, arguments: &[&str]) -> anyhow::Result<Output> {
    let program = Programs::built()?.path("pool-sv2")?;
    let settings = world.folder().join("pool-sv2.toml");
    let output = Command::new(program).args(arguments).arg("--config").arg(settings).output()?;
    Ok(output)
}

fn stages(world: &World, hash: &str) -> Vec<String> {
    let events = world.pool.program.log().events(Mark::default());
    let of_block =
        events.iter().filter(|event| event.is("block followed") && event.text("hash") == hash);
    of_block.map(|event| event.text("stage")).collect()
}

#[test]
fn a_block_pays_all_who_have_worked_and_anybody_can_reckon_it_again() -> anyhow::Result<()> {
    let _alone = alone();
    let (world, miners, devices) = sharing(shared_by_all(100)?, 3)?;
    let block = until("a block that pays all three", SOON * 3, || {
        let blocks = pools_blocks(&world);
        Ok(blocks.into_iter().find(|block| paid(block, &miners).values().all(|paid| *paid > 0)))
    })?;
    let to_miners: u64 = paid(&block, &miners).values().sum();
    let to_pool = block.check_payout(&world.payout_address)?.to_sat();
    ensure!(to_pool >= (to_miners + to_pool) * 200 / 10_000, "the pool's fee is missing");
    block.check_witness_commitment()?;
    drop(devices);

    // The block is in the chain before its record is in the log: it waits for no disk.
    until("the record of the block", SOON, || {
        let output = pool_command(&world, &["payout", "recompute", &block.hash])?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        Ok((!complaint.contains("the log has no shared block")).then_some(()))
    })?;
    let output = pool_command(&world, &["payout", "recompute", &block.hash])?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for (miner, paid) in paid(&block, &miners) {
        let line = said.lines().find(|line| line.starts_with(&miner)).context("no line")?;
        ensure!(line.ends_with(&format!("paid {paid} sat")), "{line}: the block pays {paid}");
    }

    // A miner's proof leads to the root that was recorded, and a changed one does not.
    let miner = miners.first().context("no miner")?;
    let proof = pool_command(&world, &["payout", "proof", &block.hash, miner])?;
    ensure!(proof.status.success(), "{}", String::from_utf8_lossy(&proof.stderr));
    let file = world.folder().join("proof.json");
    let check = |text: &str| -> anyhow::Result<bool> {
        std::fs::write(&file, text)?;
        let program = Programs::built()?.path("pool-sv2")?;
        let output = Command::new(program).args(["payout", "check"]).arg(&file).output()?;
        Ok(output.status.success())
    };
    let text = String::from_utf8(proof.stdout)?;
    ensure!(check(&text)?, "the proof proves nothing: {text}");
    let other = miners.last().context("no miner")?;
    ensure!(!check(&text.replace(miner, other))?, "it proves another's work: {text}");
    Ok(())
}

#[test]
fn a_block_is_followed_until_it_is_mature_or_out_of_the_chain() -> anyhow::Result<()> {
    let _alone = alone();
    let (world, _, devices) = sharing(shared_by_all(1)?, 3)?;
    until("six blocks of the pool", SOON * 2, || Ok((found(&world).len() >= 6).then_some(())))?;
    drop(devices);
    let blocks = pools_blocks(&world);
    let last = blocks.iter().max_by_key(|block| block.height).context("no block")?.clone();
    let first = blocks.iter().min_by_key(|block| block.height).context("no block")?.clone();
    let stage = |hash: &str, stage: &str| {
        until(&format!("block {hash} to be {stage}"), SOON, || {
            Ok((stages(&world, hash).last().map(String::as_str) == Some(stage)).then_some(()))
        })
    };
    stage(&last.hash, "accepted")?;
    ensure!(stages(&world, &last.hash).first().is_some_and(|it| it == "submitted"));
    world.node.rpc("invalidateblock", &json!([last.hash]))?;
    stage(&last.hash, "orphaned")?;
    world.node.rpc("reconsiderblock", &json!([last.hash]))?;
    stage(&last.hash, "accepted")?;
    world.node.generate(100)?;
    stage(&first.hash, "mature")?;
    stage(&last.hash, "mature")?;
    Ok(())
}

/// Blocks that the pool finds, at least.
const BLOCKS: usize = 50;
/// Devices, each with an address of its own.
const MINERS: usize = 20;
/// Outputs to miners in a coinbase: most of them are owed their part for a while.
const OUTPUTS: u16 = 4;

/// What `payout recompute` says of one block, by account: entitled and paid.
fn recompute(world: &World, hash: &str) -> anyhow::Result<BTreeMap<String, (u64, u64)>> {
    let output = pool_command(world, &["payout", "recompute", hash])?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let line = |line: &str| {
        let (account, rest) = line.split_once(": ")?;
        let (_, rest) = rest.split_once("entitled to ")?;
        let (entitled, rest) = rest.split_once(" sat, paid ")?;
        let paid = rest.strip_suffix(" sat")?;
        Some((account.to_owned(), (entitled.parse().ok()?, paid.parse().ok()?)))
    };
    Ok(said.lines().filter_map(line).collect())
}

/// What `payout balances` says that each account is owed.
fn balances(world: &World) -> anyhow::Result<BTreeMap<String, i64>> {
    let output = pool_command(world, &["payout", "balances"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = |line: &str| {
        let (account, rest) = line.split_once(": owed ")?;
        let (owed, _) = rest.split_once(" sat")?;
        Some((account.to_owned(), owed.parse().ok()?))
    };
    Ok(said.lines().filter_map(line).collect())
}

fn found(world: &World) -> Vec<String> {
    let events = world.pool.program.log().events(Mark::default());
    let hashes = events.iter().filter(|event| event.is("block found"));
    hashes.map(|event| event.text("hash")).collect()
}

#[test]
fn fifty_blocks_of_twenty_miners_with_reorgs_are_paid_as_the_log_says() -> anyhow::Result<()> {
    let _alone = alone();
    let plan =
        Plan { device_hashrate: 20_000, min_difficulty: 0.000_02, ..shared_by_all(OUTPUTS)? };
    let (world, miners, devices) = sharing(plan, MINERS)?;
    for depth in [1, 2, 3] {
        let (before, more) = (found(&world).len(), BLOCKS / 4);
        until("blocks before a reorg", SOON * 6, || {
            let is_mined = world.node.height()? > 101 + 3 && found(&world).len() > before + more;
            Ok(is_mined.then_some(()))
        })?;
        let height = world.node.height()?;
        let hash = world.node.hash_at(height + 1 - depth)?;
        world.node.rpc("invalidateblock", &json!([hash]))?;
    }
    until("fifty blocks in the chain", SOON * 9, || {
        Ok((pools_blocks(&world).len() >= BLOCKS).then_some(()))
    })?;
    drop(devices);
    // So many that blocks are given up which the node has refused.
    world.node.generate(7)?;
    let in_chain = pools_blocks(&world);
    let hashes = found(&world);
    until("the fate of all blocks", SOON, || {
        let is_told = |hash: &String| {
            let expected = match in_chain.iter().any(|block| block.hash == *hash) {
                true => "accepted",
                false => "orphaned",
            };
            stages(&world, hash).last().is_some_and(|last| last == expected)
        };
        Ok(hashes.iter().all(is_told).then_some(()))
    })?;

    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    let (mut shared, mut many) = (0, 0);
    for block in &in_chain {
        // The first blocks were found before anybody had worked.
        let Ok(lines) = recompute(&world, &block.hash) else {
            ensure!(paid(block, &miners).values().all(|paid| *paid == 0), "{}", block.hash);
            continue;
        };
        shared += 1;
        many = lines.len().max(many);
        let recorded: BTreeMap<_, _> =
            lines.iter().map(|(account, (_, paid))| (account.clone(), *paid)).collect();
        for (miner, paid) in paid(block, &miners) {
            let by_the_log = recorded.get(&miner).copied().unwrap_or(0);
            ensure!(paid == by_the_log, "{}: {miner} got {paid}, not {by_the_log}", block.hash);
        }
        for (account, (entitled, paid)) in lines {
            let change = i64::try_from(entitled)? - i64::try_from(paid)?;
            *expected.entry(account).or_default() += change;
        }
    }
    ensure!(shared + 5 > in_chain.len() && many > MINERS / 2, "{shared} blocks, {many} miners");
    ensure!(in_chain.len() < hashes.len(), "no block was orphaned");
    expected.retain(|_, owed| *owed != 0);
    assert_eq!(balances(&world)?, expected, "orphaned blocks count for nothing");
    Ok(())
}
