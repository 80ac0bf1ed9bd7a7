//! One pool with two ports: each has its own difficulty, its own room, and pays whom it says.

use testkit::log::{Event, Mark};
use testkit::world::{Plan, PoolPort, Route, World};

use super::{SOON, alone, check_is_of_the_pool, says};

/// Ten times what the other port has.
const HARD: f64 = 0.000_5;
/// As the log prints it, a difficulty has lost some of its last digits.
const ROUNDED: f64 = 1e-6;

/// The targets that a user has been given, as difficulties.
fn difficulties(world: &World, user: &str) -> Vec<f64> {
    let is_target = |event: &Event| event.is("channel opened") || event.is("target set");
    let events = world.pool.program.log().events(Mark::default()).into_iter();
    let of_user = events.filter(|event| is_target(event) && event.text("user") == user);
    of_user.filter_map(|event| event.text("difficulty").parse().ok()).collect()
}

#[test]
fn each_port_has_its_rules_and_a_full_one_leaves_the_other_alone() -> anyhow::Result<()> {
    let _alone = alone();
    let hard = PoolPort { min_difficulty: HARD, connections_max: 1, payout: "solo" };
    let mut world = Plan::for_test()?.with_port(hard).start()?;
    let ports = world.pool_ports()?;
    let [easy_port, hard_port] = &ports[..] else { panic!("{ports:?}") };
    let finder = world.node.new_address()?;
    let (solo, solo_late) = (format!("{finder}.rig"), format!("{finder}.late"));
    let start = Mark::default();
    let _easy = world.start_device_at(easy_port, Route::V2Extended, "easy")?;
    let _hard = world.start_device_at(hard_port, Route::V2Standard, &solo)?;
    let block = world.wait_for_block("easy", start, SOON * 2)?;
    check_is_of_the_pool(&world, &block)?;
    let block = world.wait_for_block(&solo, start, SOON * 2)?;
    block.check_payout(&finder)?;
    assert!(block.check_payout(&world.payout_address).is_err(), "the pool has a part");
    // The hard port is full. Who comes there is turned away, and who comes to the other one mines.
    let now = world.pool.program.log().end();
    let mut late = world.start_device_at(hard_port, Route::V2Standard, &solo_late)?;
    let turned_away =
        |event: &Event| event.is("connection refused") && event.text("limit").starts_with("port");
    world.pool.program.wait_for_log(now, SOON, "who is turned away", turned_away)?;
    late.wait_for_log(start, SOON, "the loss", says("pool lost"))?;
    let _more = world.start_device_at(easy_port, Route::V2Extended, "more")?;
    for user in ["more", "easy", &solo] {
        world.wait_for_block(user, now, SOON * 2)?;
    }
    assert!(difficulties(&world, &solo_late).is_empty());
    let (easy, hard) = (difficulties(&world, "easy"), difficulties(&world, &solo));
    assert!(easy.iter().any(|difficulty| *difficulty < HARD / 2.0), "{easy:?}");
    let is_hard = |difficulty: &f64| *difficulty >= HARD * (1.0 - ROUNDED);
    assert!(!hard.is_empty() && hard.iter().all(is_hard), "{hard:?}");
    Ok(())
}
