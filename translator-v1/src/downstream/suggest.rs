//! What a miner asks of its difficulty: `mining.suggest_difficulty`, `mining.suggest_target`,
//! `mining.capabilities`, and options in a password.
//!
//! A wish is not above the upstream's difficulty nor below the operator's least, whatever is asked.

use mining::target::Target;
use wire::sv1::login::suggested_target;
use wire::sv1::notify::read_difficulty;
use wire::sv1::request::{InvalidParams, Params};

use super::session::MinerSession;
use crate::bridge::submit::ShareError;

/// Hashes per second of one TH/s.
const TERAHASH: f64 = 1e12;
/// The most TH/s that a miner is believed to have before it has found a share.
const CLAIMED_TERAHASHES_MAX: f64 = 10_000.0;

/// What is wrong with a target.
const SHAPE: InvalidParams = InvalidParams("the target must be 64 hexadecimal digits");

impl MinerSession {
    pub(super) fn suggest_difficulty(&mut self, params: &Params<'_>) -> Result<String, ShareError> {
        self.difficulty.suggest(read_difficulty(params)?);
        Ok("true".to_owned())
    }

    /// The target is 32 bytes, written as a big-endian number.
    pub(super) fn suggest_target(&mut self, params: &Params<'_>) -> Result<String, ShareError> {
        let text = params.elements()?.text(0).ok_or(SHAPE)?;
        self.suggest(&text)
    }

    /// An object with what a miner can do; all that changes anything is the target that it wants.
    pub(super) fn take_capabilities(&mut self, params: &Params<'_>) -> Result<String, ShareError> {
        match suggested_target(params)? {
            Some(text) => self.suggest(&text),
            None => Ok("true".to_owned()),
        }
    }

    /// Takes the options that a password may hold.
    pub(super) fn take_password(&mut self, password: &str) {
        match wish_in(password) {
            Some(Wish::Difficulty(difficulty)) => self.difficulty.suggest_by_password(difficulty),
            Some(Wish::Hashrate(hashrate)) => self.difficulty.claim(hashrate),
            None => {}
        }
    }

    fn suggest(&mut self, text: &str) -> Result<String, ShareError> {
        let target = read_target(text.trim_start_matches("0x")).ok_or(SHAPE)?;
        self.difficulty.suggest(target.difficulty());
        Ok("true".to_owned())
    }
}

/// What a password asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wish {
    /// `d=` or `diff=`.
    Difficulty(f64),
    /// `th=`, in hashes per second.
    Hashrate(f64),
}

/// The first of `d=1024`, `diff=1024` (difficulty) and `th=95` (TH/s) among the options of a
/// password, which commas, semicolons and blanks separate.
fn wish_in(password: &str) -> Option<Wish> {
    let positive = |value: &str| {
        value.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
    };
    let options = password.split([',', ';', ' ']).filter_map(|option| option.split_once('='));
    let mut wishes = options.filter_map(|(key, value)| match key.trim() {
        "d" | "diff" => positive(value).map(Wish::Difficulty),
        "th" => positive(value)
            .map(|terahashes| Wish::Hashrate(terahashes.min(CLAIMED_TERAHASHES_MAX) * TERAHASH)),
        _ => None,
    });
    wishes.next()
}

fn read_target(digits: &str) -> Option<Target> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (index, byte) in bytes.iter_mut().rev().enumerate() {
        let pair = digits.get(2 * index..2 * index + 2)?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(Target::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_a_difficulty_or_a_hashrate_among_other_options() {
        assert_eq!(wish_in("d=1024"), Some(Wish::Difficulty(1024.0)));
        assert_eq!(wish_in("x, diff=0.5"), Some(Wish::Difficulty(0.5)));
        assert_eq!(wish_in("x;th=95.5;d=7"), Some(Wish::Hashrate(95.5e12)));
        assert_eq!(wish_in("th=1e20"), Some(Wish::Hashrate(1e16)));
        assert_eq!(wish_in("th=1e300"), Some(Wish::Hashrate(1e16)));
        for none in ["", "x", "d=", "d=-1", "d=inf", "d=nan", "id=5", "hd=5", "th=0", "th=x"] {
            assert_eq!(wish_in(none), None, "{none}");
        }
    }
}
