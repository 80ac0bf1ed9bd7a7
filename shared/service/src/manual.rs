//! What a program says of its own arguments: man pages and completions of shells, from the same
//! definitions that read the arguments, so that they cannot say anything else.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// Shells, and the names of their files.
const SHELLS: [(Shell, &str); 3] =
    [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")];

/// Writes the pages of `command` and its subcommands to `folder/man`, and one file for each shell
/// to `folder`.
pub(crate) fn write(command: &Command, folder: &Path) -> io::Result<()> {
    let man = folder.join("man");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(command.clone(), &man)?;
    for (shell, name) in SHELLS {
        let mut command = command.clone();
        let program = command.get_name().to_owned();
        let mut file = File::create(folder.join(name))?;
        clap_complete::generate(shell, &mut command, program, &mut file);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn each_subcommand_has_a_page_and_each_shell_knows_the_arguments() {
        let folder = std::env::temp_dir().join(format!("manual-{}", std::process::id()));
        let hidden = Command::new("inner").hide(true);
        let run = Command::new("run").about("Runs it").arg(Arg::new("config").long("config"));
        write(&Command::new("thing").subcommand(run).subcommand(hidden), &folder).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert!(read("man/thing-run.1").contains("Runs it"));
        assert!(!folder.join("man/thing-inner.1").exists());
        for (_, shell) in SHELLS {
            assert!(read(shell).contains("config"), "{shell}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
