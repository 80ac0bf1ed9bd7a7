//! Each neighbour is lost once, by SIGKILL, and mining goes on when it is back.

use testkit::world::Route;

use super::{Mining, SOON, check_is_of_the_pool, says};

/// A world that has mined a block.
fn mining(route: Route) -> anyhow::Result<Mining> {
    let mut mining = Mining::start(route)?;
    mining.block_from_now_on()?;
    Ok(mining)
}

#[test]
fn mining_goes_on_when_the_template_provider_was_killed() -> anyhow::Result<()> {
    let mut mining = mining(Route::V2Extended)?;
    let (pool, provider) = (&mut mining.world.pool, &mut mining.world.template_provider);
    let before = pool.program.log().end();
    provider.program.kill();
    pool.program.wait_for_log(before, SOON, "the loss", says("template provider lost"))?;
    provider.restart()?;
    pool.program.wait_for_log(before, SOON, "the return", says("template provider found"))?;
    let block = mining.block_from_now_on()?;
    check_is_of_the_pool(&mining.world, &block)?;
    assert_eq!(mining.world.pool.program.ending()?, None);
    Ok(())
}

#[test]
fn mining_goes_on_when_the_node_was_killed() -> anyhow::Result<()> {
    let mut mining = mining(Route::V2Extended)?;
    let before = mining.world.template_provider.program.log().end();
    mining.world.node.flush()?;
    mining.world.node.kill();
    let provider = &mut mining.world.template_provider.program;
    provider.wait_for_log(before, SOON, "the loss", says("node lost"))?;
    mining.world.node.restart()?;
    provider.wait_for_log(before, SOON, "the return", says("node found"))?;
    let block = mining.block_from_now_on()?;
    check_is_of_the_pool(&mining.world, &block)?;
    assert_eq!(mining.world.template_provider.program.ending()?, None);
    Ok(())
}

#[test]
fn a_v2_device_comes_back_when_the_pool_was_killed() -> anyhow::Result<()> {
    let mut mining = mining(Route::V2Standard)?;
    let before = mining.device.log().end();
    mining.world.pool.kill_and_restart()?;
    mining.device.wait_for_log(before, SOON, "the reconnect", says("connected"))?;
    let block = mining.block_from_now_on()?;
    check_is_of_the_pool(&mining.world, &block)?;
    Ok(())
}

#[test]
fn a_v1_device_mines_again_when_the_pool_was_killed() -> anyhow::Result<()> {
    let mut mining = mining(Route::V1)?;
    mining.world.pool.kill_and_restart()?;
    let block = mining.block_from_now_on()?;
    check_is_of_the_pool(&mining.world, &block)?;
    Ok(())
}

#[test]
fn a_v1_device_mines_again_when_the_translator_was_killed() -> anyhow::Result<()> {
    let mut mining = mining(Route::V1)?;
    let before = mining.device.log().end();
    let translator = mining.world.translator.as_mut().expect("the V1 world has a translator");
    translator.kill_and_restart()?;
    mining.device.wait_for_log(before, SOON, "the reconnect", says("connected"))?;
    let block = mining.block_from_now_on()?;
    check_is_of_the_pool(&mining.world, &block)?;
    Ok(())
}

#[test]
fn every_server_ends_with_code_0_when_it_is_asked_to() -> anyhow::Result<()> {
    let mut mining = mining(Route::V1)?;
    let world = &mut mining.world;
    let translator = world.translator.as_mut().expect("the V1 world has a translator");
    let servers = [translator, &mut world.pool, &mut world.template_provider];
    for server in servers {
        let ended = server.program.stop()?.and_then(|status| status.code());
        assert_eq!(ended, Some(0), "{}", server.program.log().tail());
    }
    let device = mining.device.stop()?.and_then(|status| status.code());
    assert_eq!(device, Some(0), "{}", mining.device.log().tail());
    Ok(())
}
