//! Asks a person at a terminal. It must not wait for anybody where there is none.

use std::io::{BufRead, IsTerminal, stdin};

use service::program::{Failure, tell};

/// Answers that are taken back with a reason before it gives up.
const TRIES_MAX: usize = 5;

/// Somebody who can be asked.
pub(super) struct Asker(());

impl Asker {
    /// Fails where nobody sits at a terminal; `flag` is what says the same.
    pub(super) fn of_terminal(flag: &str) -> Result<Self, Failure> {
        let nobody = || Failure::Usage(format!("{flag} is missing, and there is nobody to ask"));
        stdin().is_terminal().then_some(Self(())).ok_or_else(nobody)
    }

    /// Asks `question` until `check` is content.
    pub(super) fn ask(
        self,
        question: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Result<String, Failure> {
        answer(&mut stdin().lock(), question, check)
    }
}

fn answer(
    input: &mut impl BufRead,
    question: &str,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<String, Failure> {
    for _ in 0..TRIES_MAX {
        tell(question);
        let mut line = String::new();
        if input.read_line(&mut line).map_err(anyhow::Error::from)? == 0 {
            break;
        }
        match check(line.trim()) {
            Ok(()) => return Ok(line.trim().to_owned()),
            Err(reason) => tell(reason),
        }
    }
    Err(Failure::Usage("no usable answer: nothing was written".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn even(text: &str) -> Result<(), String> {
        if text.len().is_multiple_of(2) { Ok(()) } else { Err(format!("{text} is odd")) }
    }

    #[test]
    fn a_bad_answer_is_asked_for_again() {
        let answered = answer(&mut "odd\neven\n".as_bytes(), "?", even);
        assert_eq!(answered.unwrap(), "even");
    }

    #[test]
    fn without_a_usable_answer_nothing_goes_on() {
        let bad = "odd\n".repeat(TRIES_MAX) + "even\n";
        assert!(answer(&mut bad.as_bytes(), "?", even).is_err());
        assert!(answer(&mut "".as_bytes(), "?", even).is_err());
    }
}
