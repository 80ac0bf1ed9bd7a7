//! A block by each way to the pool: found by a device, taken by the node, paying the right address.

use testkit::log::Mark;
use testkit::world::Route;

use super::{Mining, SOON, check_is_of_the_pool, says};

fn mine_a_block(route: Route) -> anyhow::Result<Mining> {
    let mut mining = Mining::start(route)?;
    let block = mining.next_block(Mark::default())?;
    assert!(block.height > 101, "block {} is older than the pool", block.height);
    check_is_of_the_pool(&mining.world, &block)?;
    let provider = &mut mining.world.template_provider.program;
    let accepted =
        provider.wait_for_log(Mark::default(), SOON, "the block's acceptance", |event| {
            event.is("block accepted") && event.text("hash") == block.hash
        })?;
    assert_eq!(accepted.number("height"), Some(block.height));
    // The device hears of it too, once its share is durable.
    let device = &mut mining.device;
    device.wait_for_log(Mark::default(), SOON, "an accepted share", says("share accepted"))?;
    Ok(mining)
}

fn rejections(mining: &Mining) -> Vec<String> {
    let events = mining.device.log().events(Mark::default());
    let rejected = events.iter().filter(|event| event.is("share rejected"));
    // A share that was on its way when the tip changed is nobody's fault.
    rejected.map(|event| event.text("reason")).filter(|reason| !reason.contains("stale")).collect()
}

#[test]
fn a_block_is_mined_on_a_standard_channel() -> anyhow::Result<()> {
    let mining = mine_a_block(Route::V2Standard)?;
    assert_eq!(rejections(&mining), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_block_is_mined_on_an_extended_channel() -> anyhow::Result<()> {
    let mining = mine_a_block(Route::V2Extended)?;
    assert_eq!(rejections(&mining), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_block_is_mined_by_stratum_v1() -> anyhow::Result<()> {
    let mut mining = mine_a_block(Route::V1)?;
    let translator = mining.world.translator.as_mut().expect("the V1 world has a translator");
    let found =
        |event: &testkit::log::Event| event.is("block found") && event.text("worker") == "device";
    translator.program.wait_for_log(Mark::default(), SOON, "the worker's block", found)?;
    assert_eq!(rejections(&mining), Vec::<String>::new());
    Ok(())
}
