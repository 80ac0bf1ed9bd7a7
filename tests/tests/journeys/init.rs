//! A newcomer's settings: made by `pool-sv2 init` from a real node, read by the three programs.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;
use testkit::node::Node;
use testkit::program::Programs;

use super::alone;

const ADDRESS: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const OF_MAINNET: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

fn init(programs: &Programs, node: &Node, directory: &Path, address: &str) -> Result<Output> {
    let output = Command::new(programs.path("pool-sv2")?)
        .args(["init", "--rpc-url", &node.rpc_url(), "--address", address])
        .args(["--min-difficulty", "0.001", "--mode", "solo", "--fee-basis-points", "150"])
        .arg("--cookie-file")
        .arg(node.cookie_file())
        .arg("--dir")
        .arg(directory)
        .arg("--data-dir")
        .arg(directory.join("keys & data"))
        .output()?;
    Ok(output)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &output.stderr].concat()).into_owned()
}

#[test]
fn what_init_writes_is_read_by_all_three_programs_and_explained_in_plain_words() {
    let _alone = alone();
    let (programs, node) = (Programs::built().unwrap(), Node::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("mine \"here\"");
    let made = init(&programs, &node, &directory, ADDRESS).unwrap();
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).contains("regtest at block 0"), "{}", said(&made));
    for (program, sentence) in [
        ("template-provider", node.rpc_url()),
        ("pool-sv2", "shows the pool to people".to_owned()),
        ("pool-sv2", format!("pays 98.5 % to who found it, and 1.5 % to {ADDRESS}.")),
        ("translator-v1", format!("where {ADDRESS}.translator is paid.")),
    ] {
        let checked = Command::new(programs.path(program).unwrap())
            .args(["check-config", "--config"])
            .arg(directory.join(format!("{program}.toml")))
            .output()
            .unwrap();
        assert!(checked.status.success(), "{}", said(&checked));
        assert!(said(&checked).contains(&sentence), "{}", said(&checked));
    }
    // The key that miners are told is the one that the pool will have.
    let key =
        std::fs::read_to_string(directory.join("keys & data/pool-sv2/authority.pub")).unwrap();
    assert!(said(&made).contains(key.trim()), "{}", said(&made));
    let environment = std::fs::read_to_string(directory.join(".env")).unwrap();
    assert!(environment.contains("COMPOSE_PROFILES=bitcoin\nCHAIN=regtest\n"), "{environment}");
}

#[test]
fn init_overwrites_nothing_and_takes_no_address_of_another_network() {
    let _alone = alone();
    let (programs, node) = (Programs::built().unwrap(), Node::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("adit");
    let refused = init(&programs, &node, &directory, OF_MAINNET).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{}", said(&refused));
    assert!(said(&refused).contains("another network"), "{}", said(&refused));
    assert!(!directory.exists());

    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("pool-sv2.toml"), "mine").unwrap();
    let refused = init(&programs, &node, &directory, ADDRESS).unwrap();
    assert_eq!(refused.status.code(), Some(64), "{}", said(&refused));
    assert_eq!(std::fs::read_to_string(directory.join("pool-sv2.toml")).unwrap(), "mine");
    assert!(!directory.join("template-provider.toml").exists());
}

#[test]
fn init_says_which_flag_is_missing_where_nobody_can_be_asked() {
    let _alone = alone();
    let (programs, node) = (Programs::built().unwrap(), Node::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let refused = Command::new(programs.path("pool-sv2").unwrap())
        .args(["init", "--rpc-url", &node.rpc_url(), "--cookie-file"])
        .arg(node.cookie_file())
        .arg("--dir")
        .arg(folder.path())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(64), "{}", said(&refused));
    assert!(said(&refused).contains("--address is missing"), "{}", said(&refused));
}
