//! What the real programs say of themselves: by which code they refuse, what it means, and their
//! manual.

#![allow(clippy::expect_used, reason = "a test may say what it means")]

use std::fs;
use std::process::{Command, Output};

use testkit::program::Programs;

const PROGRAMS: [&str; 3] = ["template-provider", "pool-sv2", "translator-v1"];

fn run(program: &str, arguments: &[&str]) -> Output {
    let programs = Programs::built().expect("the programs build");
    let mut command = Command::new(programs.path(program).expect("the program is built"));
    command.args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_refusal_ends_with_a_code_that_every_program_explains() {
    for program in PROGRAMS {
        let refused = run(program, &["check-config", "--config", "/no/such/file"]);
        let complaint = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(64), "{complaint}");
        assert!(complaint.trim_end().ends_with("(--explain A01)"), "{complaint}");
        let explained = run(program, &["--explain", "a01"]);
        let said = text(&explained.stdout);
        assert!(explained.status.success(), "{program}");
        assert!(said.starts_with("A01: ") && said.contains("\nWhat to do: "), "{said}");
        let unknown = run(program, &["--explain", "A99"]);
        assert_eq!(unknown.status.code(), Some(64));
        assert!(text(&unknown.stderr).contains("A99 is no code; there are A01, "), "{program}");
        let nothing = run(program, &[]);
        assert_eq!(nothing.status.code(), Some(64));
        assert!(text(&nothing.stderr).contains("name a subcommand"), "{program}");
    }
}

#[test]
fn the_manual_is_that_of_the_arguments_which_the_program_takes() {
    for program in PROGRAMS {
        let folder = tempfile::tempdir().expect("a directory can be made");
        let path = folder.path().to_str().expect("its name is text");
        let written = run(program, &["write-manual", "--dir", path]);
        assert!(written.status.success(), "{}", text(&written.stderr));
        let read =
            |name: String| fs::read_to_string(folder.path().join(name)).expect("it is there");
        let page = read(format!("man/{program}-check-config.1"));
        assert!(page.contains("env\\-file"), "{page}");
        assert!(read(format!("man/{program}.1")).contains("explain"), "{program}");
        assert!(!folder.path().join(format!("man/{program}-write-manual.1")).exists());
        for shell in ["bash", "zsh", "fish"] {
            assert!(read(shell.to_owned()).contains("check-config"), "{program}, {shell}");
        }
    }
}
