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

/// A world where blocks pay all, with devices that mine, each for an address of its own.
fn sharing(outputs_max: u16) -> anyhow::Result<(World, Vec<String>, Vec<Program>)> {
    let world = Plan::for_test()?.paying(Paying::All { fee: 200, outputs_max }).start()?;
    let miners: Vec<String> = (0..3).map(|_| world.node.new_address()).collect::<Result<_, _>>()?;
    let routes = [Route::V2Extended, Route::V2Standard, Route::V2Extended];
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
    let (world, miners, devices) = sharing(100)?;
    let block = until("a block that pays all three", SOON * 3, || {
        let blocks = pools_blocks(&world);
        Ok(blocks.into_iter().find(|block| paid(block, &miners).values().all(|paid| *paid > 0)))
    })?;
    let to_miners: u64 = paid(&block, &miners).values().sum();
    let to_pool = block.check_payout(&world.payout_address)?.to_sat();
    ensure!(to_pool >= (to_miners + to_pool) * 200 / 10_000, "the pool's fee is missing");
    block.check_witness_commitment()?;
    drop(devices);

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
    // One output to miners: the others are owed their parts.
    let (world, miners, devices) = sharing(1)?;
    until("two blocks of the pool that pay a miner", SOON * 3, || {
        let blocks = pools_blocks(&world);
        let paying = blocks.iter().filter(|it| paid(it, &miners).values().any(|paid| *paid > 0));
        Ok((paying.count() >= 2).then_some(()))
    })?;
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
