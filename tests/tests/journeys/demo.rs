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
    assert!(said.contains("1 by V2, 1 by V1"), "{said}");
    assert!(said.contains("Nothing is left running."), "{said}");
}
