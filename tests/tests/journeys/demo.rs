//! The newcomer's first command, `scripts/demo`, whose program is built for the journeys anyway.

use std::process::Command;

use testkit::program::Programs;

use super::alone;

#[test]
fn the_demo_mines_a_block_on_each_path_and_ends() {
    let _alone = alone();
    let programs = Programs::built().unwrap();
    let demo = Command::new(programs.path("demo").unwrap()).args(["--blocks", "1"]).output();
    let demo = demo.expect("the demo starts");
    let said = String::from_utf8_lossy(&demo.stdout);
    assert!(demo.status.success(), "{said}{}", String::from_utf8_lossy(&demo.stderr));
    for miner in ["v2-device (Stratum V2", "v1-device (Stratum V1"] {
        assert!(said.contains(&format!("found by {miner}")), "{miner}: {said}");
    }
    assert!(said.contains("Nothing is left running."), "{said}");
}
