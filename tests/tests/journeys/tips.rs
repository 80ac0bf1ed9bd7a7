//! A new tip from elsewhere reaches every device.

use testkit::log::Mark;
use testkit::world::{Plan, Route, TRANSLATOR_USER};

use super::{SOON, alone, check_is_of_the_pool};

#[test]
fn a_block_of_somebody_else_switches_all_devices() -> anyhow::Result<()> {
    let _alone = alone();
    let mut world = Plan::for_test()?.with_translator().start()?;
    let mut devices = [
        (world.start_device(Route::V2Standard, "standard")?, "standard"),
        (world.start_device(Route::V2Extended, "extended")?, "extended"),
        (world.start_device(Route::V1, "v1")?, TRANSLATOR_USER),
    ];
    for (_, user) in &devices {
        world.wait_for_block(user, Mark::default(), SOON)?;
    }
    let before = world.pool.program.log().end();
    let outside = world.node.generate(1)?.remove(0);
    let height = world.node.rpc("getblockheader", &serde_json::json!([outside]))?;
    let height = height["height"].as_u64().expect("a header has a height");
    let pool = &mut world.pool.program;
    pool.wait_for_log(before, SOON, "the new tip", |event| {
        event.is("new tip") && event.text("prev_hash") == outside
    })?;
    // What a device finds from now on and the node takes stands on that tip or above it.
    let switched = world.pool.program.log().end();
    for (device, user) in &mut devices {
        let block = world.wait_for_block(user, switched, SOON)?;
        assert!(block.height > height, "{user} stayed below the new tip");
        check_is_of_the_pool(&world, &block)?;
        assert_eq!(device.ending()?, None);
    }
    Ok(())
}
