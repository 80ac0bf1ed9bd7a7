//! Commands of ours that documents tell people to run. They are not run here: whether a program
//! knows such a command and its options is asked of the program's own help.

use crate::sources::Source;

/// A command as a document has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Of the document, counted from one.
    pub line: usize,
    /// Whether it stands in a block, to be run as it is, or in a sentence.
    pub is_in_block: bool,
    /// The program, without the folder it is in.
    pub program: String,
    /// What follows, up to a comment, a pipe or another command.
    pub words: Vec<String>,
}

/// All commands of `programs` in code blocks and between backticks.
pub fn told(document: &Source, programs: &[&str]) -> Vec<Told> {
    let mut found = Vec::new();
    let mut in_block = false;
    let mut lines = document.text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block && line.starts_with(' ') {
            // A picture.
        } else if in_block {
            let mut whole = line.to_owned();
            while whole.ends_with('\\') {
                whole.pop();
                whole.push_str(lines.next().map_or("", |(_, next)| next));
            }
            let commands = whole.split(" && ");
            let commands = commands.filter_map(|one| command(index + 1, one, programs));
            found.extend(commands.map(|told| Told { is_in_block: true, ..told }));
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.filter_map(|span| command(index + 1, span, programs)));
        }
    }
    found
}

/// A document whose blocks have such commands, and that says nowhere which of them are run by a
/// test.
pub fn unmarked(document: &Source, programs: &[&str]) -> Option<String> {
    let first = told(document, programs).into_iter().find(|told| told.is_in_block)?;
    let is_marked = document.text.replace('\n', " ").contains("run by a test");
    let remedy = "say on this page which commands are run by a test, and which are not";
    (!is_marked).then(|| document.violation(first.line, remedy))
}

/// A program's name alone is a name, and no command.
fn command(line: usize, text: &str, programs: &[&str]) -> Option<Told> {
    let ends = |word: &&str| !["#", "|", ">", "<", ";"].contains(word);
    let mut words = text.split_whitespace().take_while(ends).map(str::to_owned);
    let first = words.next()?;
    let program = first.rsplit('/').next().filter(|name| programs.contains(name))?.to_owned();
    let words: Vec<String> = words.collect();
    words.first()?.chars().all(|c| c.is_ascii_lowercase() || c == '-').then_some(())?;
    Some(Told { line, is_in_block: false, program, words })
}

/// What a program's help has to know of a command: the words that lead to the last subcommand, and
/// the options given to it. `help` gives the help that follows such words.
pub fn unknown(told: &Told, help: impl Fn(&[String]) -> String) -> Vec<String> {
    let mut path = Vec::new();
    let mut text = help(&path);
    for word in told.words.iter().take_while(|word| !word.starts_with('-')) {
        let Some((_, commands)) = text.split_once("\nCommands:\n") else { break };
        if !commands.lines().any(|line| line.split_whitespace().next() == Some(word)) {
            return vec![format!("{} has no command {word}", told.program)];
        }
        path.push(word.clone());
        text = help(&path);
    }
    let options = told.words.iter().filter_map(|word| word.strip_prefix("--"));
    let names = options.map(|option| option.split('=').next().unwrap_or(option));
    let is_known = |name: &str| {
        let knows = |word: &str| word.trim_end_matches(',') == format!("--{name}");
        text.split_whitespace().any(knows)
    };
    let path = path.join(" ");
    names
        .filter(|name| !is_known(name))
        .map(|name| format!("{} {path} has no option --{name}", told.program))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "A pool\n\nCommands:\n  run  Run\n\nOptions:\n  -c, --config <FILE>\n";

    fn document(text: &str) -> Source {
        Source { path: "docs/x.md".into(), text: text.into() }
    }

    fn complaints(text: &str) -> Vec<String> {
        let all = told(&document(text), &["pool"]);
        let help =
            |path: &[String]| HELP.lines().skip(path.len() * 4).collect::<Vec<_>>().join("\n");
        all.iter().flat_map(|told| unknown(told, help)).collect()
    }

    #[test]
    fn commands_are_found_in_blocks_and_between_backticks() {
        let text = "Run `pool run --config FILE` or\n```\ntarget/pool run \\\n  --config x  # so\n\
            \u{20} pool jobs\n```\nThe `pool` runs.";
        let found = told(&document(text), &["pool"]);
        let words = |one: &Told| one.words.join(" ");
        assert_eq!(
            found.iter().map(words).collect::<Vec<_>>(),
            ["run --config FILE", "run --config x"]
        );
        assert_eq!(found.iter().map(|one| one.line).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_page_of_commands_that_does_not_say_whether_they_are_run_is_a_complaint() {
        let unmarked = |text: &str| unmarked(&document(text), &["pool"]).is_some();
        assert!(unmarked("# Page\n```\npool run\n```\n"));
        assert!(!unmarked("# Page\n```\npool run\n```\n*All of it is run by a\ntest.*\n"));
        assert!(!unmarked("Only `pool run` in a sentence."));
    }

    #[test]
    fn a_command_or_an_option_that_no_program_knows_is_a_complaint() {
        assert_eq!(complaints("`pool run --config=FILE`"), [""; 0]);
        assert_eq!(complaints("`pool walk`"), ["pool has no command walk"]);
        assert_eq!(complaints("`pool run --confi FILE`"), ["pool run has no option --confi"]);
    }
}
