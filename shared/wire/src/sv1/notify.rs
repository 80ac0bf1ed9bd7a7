//! What a server says unasked: `mining.notify`, `mining.set_difficulty`, `mining.set_extranonce`.
//!
//! Byte orders (the one place that knows them): the previous hash is sent with each 4-byte word of
//! its internal order reversed; coinbases and merkle hashes as they are hashed; version, nBits and
//! nTime as big-endian hexadecimal.

use std::fmt::Write;

use bitcoin::hex::{DisplayHex, FromHex};
use bytes::{Bytes, BytesMut};

use super::request::{Elements, InvalidParams, Params};
use super::submit::hex_u32;

const NOTIFY_START: &str = r#"{"id":null,"method":"mining.notify","params":["#;
const SET_DIFFICULTY_START: &str = r#"{"id":null,"method":"mining.set_difficulty","params":["#;
const SET_EXTRANONCE_START: &str = r#"{"id":null,"method":"mining.set_extranonce","params":["#;

/// `mining.notify`: a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The server's name for the job.
    pub job_id: String,
    /// Hash of the tip, internal byte order.
    pub prev_hash: [u8; 32],
    /// Coinbase before the extranonce, without marker, flag and witness.
    pub coinbase_1: Vec<u8>,
    /// Coinbase after the extranonce.
    pub coinbase_2: Vec<u8>,
    /// Merkle path of the coinbase, deepest first, internal byte order.
    pub merkle_path: Vec<[u8; 32]>,
    /// Header version.
    pub version: u32,
    /// Header nBits.
    pub nbits: u32,
    /// Header nTime to start with.
    pub ntime: u32,
    /// True if all earlier jobs are worthless.
    pub clean_jobs: bool,
}

impl Notify {
    /// Reads the arguments of `mining.notify`. A missing `clean_jobs` is false.
    pub fn read(params: &Params<'_>) -> Result<Self, InvalidParams> {
        let elements = params.elements()?;
        let job_id = elements.text(0).ok_or(InvalidParams("the job id must be a string"))?;
        let prev_hash = elements
            .text(1)
            .and_then(|text| <[u8; 32]>::from_hex(&text).ok())
            .ok_or(InvalidParams("prevhash must be 64 hexadecimal digits"))?;
        let branches =
            elements.array(4).ok_or(InvalidParams("merkle branches must be an array"))?;
        let merkle_path = (0..branches.len())
            .map(|index| <[u8; 32]>::from_hex(&branches.text(index)?).ok())
            .collect::<Option<_>>()
            .ok_or(InvalidParams("merkle branches must be 64 digits each"))?;
        Ok(Self {
            job_id: job_id.into_owned(),
            prev_hash: words_reversed(prev_hash),
            coinbase_1: hex_bytes(&elements, 2)?,
            coinbase_2: hex_bytes(&elements, 3)?,
            merkle_path,
            version: hex_number(&elements, 5, "version must be hexadecimal")?,
            nbits: hex_number(&elements, 6, "nbits must be hexadecimal")?,
            ntime: hex_number(&elements, 7, "ntime must be hexadecimal")?,
            clean_jobs: elements.boolean(8).unwrap_or_default(),
        })
    }

    /// The job as a line.
    pub fn line(&self) -> Bytes {
        let mut out = BytesMut::new();
        let rendered = RenderedNotify::new(
            &self.prev_hash,
            (&self.coinbase_1, &self.coinbase_2),
            &self.merkle_path,
            (self.version, self.nbits),
        );
        rendered.put_line(&self.job_id, self.ntime, self.clean_jobs, &mut out);
        out.freeze()
    }
}

/// The part of a `mining.notify` that is the same for every miner, rendered once.
///
/// The job id, nTime and `clean_jobs` differ from miner to miner and stand at the ends, so that a
/// line is three short pieces around one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedNotify {
    middle: String,
}

impl RenderedNotify {
    /// Renders what all lines of a job share: hashes in internal byte order, the coinbase before
    /// and after the extranonce, and version and nBits.
    pub fn new(
        prev_hash: &[u8; 32],
        (coinbase_1, coinbase_2): (&[u8], &[u8]),
        merkle_path: &[[u8; 32]],
        (version, nbits): (u32, u32),
    ) -> Self {
        let branches: Vec<_> =
            merkle_path.iter().map(|hash| format!("\"{}\"", hash.as_hex())).collect();
        let middle = format!(
            "\"{}\",\"{}\",\"{}\",[{}],\"{version:08x}\",\"{nbits:08x}\"",
            words_reversed(*prev_hash).as_hex(),
            coinbase_1.as_hex(),
            coinbase_2.as_hex(),
            branches.join(","),
        );
        Self { middle }
    }

    /// Appends the line of one miner. `job_id` must need no JSON escapes.
    pub fn put_line(&self, job_id: &str, ntime: u32, clean_jobs: bool, out: &mut BytesMut) {
        out.reserve(self.middle.len() + job_id.len() + 80);
        // Writing into a BytesMut does not fail.
        let _ = writeln!(
            out,
            "{NOTIFY_START}\"{job_id}\",{},\"{ntime:08x}\",{clean_jobs}]}}",
            self.middle
        );
    }
}

/// `mining.set_difficulty`: an integer where it is one, else a decimal fraction without exponent.
pub fn set_difficulty_line(difficulty: f64) -> String {
    // Without a precision, large integers would be rounded to the digits that identify them.
    let difficulty = match difficulty.fract() == 0.0 {
        true => format!("{difficulty:.0}"),
        false => difficulty.to_string(),
    };
    format!("{SET_DIFFICULTY_START}{difficulty}]}}\n")
}

/// Reads the argument of `mining.set_difficulty` or `mining.suggest_difficulty`.
pub fn read_difficulty(params: &Params<'_>) -> Result<f64, InvalidParams> {
    params
        .elements()?
        .number(0)
        .filter(|difficulty| *difficulty > 0.0)
        .ok_or(InvalidParams("difficulty must be a number above 0"))
}

/// `mining.set_extranonce`: another first part, from the next job on.
pub fn set_extranonce_line(extranonce_1: &[u8], extranonce_2_bytes: usize) -> String {
    let extranonce_1 = extranonce_1.as_hex();
    format!("{SET_EXTRANONCE_START}\"{extranonce_1}\",{extranonce_2_bytes}]}}\n")
}

/// Reads the arguments of `mining.set_extranonce`: extranonce1 and the bytes of extranonce2.
pub fn read_extranonce(params: &Params<'_>) -> Result<(Vec<u8>, usize), InvalidParams> {
    let elements = params.elements()?;
    let size = elements.raw(1).and_then(|raw| raw.get().parse().ok());
    let size = size.ok_or(InvalidParams("the extranonce2 size must be a number"))?;
    Ok((hex_bytes(&elements, 0)?, size))
}

fn hex_bytes(elements: &Elements<'_>, index: usize) -> Result<Vec<u8>, InvalidParams> {
    elements
        .text(index)
        .and_then(|text| Vec::from_hex(&text).ok())
        .ok_or(InvalidParams("bytes must be hexadecimal"))
}

fn hex_number(
    elements: &Elements<'_>,
    index: usize,
    error: &'static str,
) -> Result<u32, InvalidParams> {
    let text = elements.text(index);
    text.and_then(|text| hex_u32(&text)).ok_or(InvalidParams(error))
}

/// Reverses each 4-byte word: its own inverse.
fn words_reversed(mut hash: [u8; 32]) -> [u8; 32] {
    hash.as_chunks_mut::<4>().0.iter_mut().for_each(|word| word.reverse());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sv1::request::{Line, Request};

    fn request(text: &str) -> Request<'_> {
        match Line::parse(text).unwrap() {
            Line::Request(request) => request,
            Line::Response(_) => panic!("a response: {text}"),
        }
    }

    fn sample() -> Notify {
        let mut prev_hash = [0; 32];
        for (index, byte) in (0_u8..).zip(&mut prev_hash) {
            *byte = index;
        }
        Notify {
            job_id: "1f".into(),
            prev_hash,
            coinbase_1: vec![1, 2],
            coinbase_2: vec![3],
            merkle_path: vec![prev_hash, [0xbb; 32]],
            version: 0x2000_0000,
            nbits: 0x1d00_ffff,
            ntime: 0x65a0_f8e2,
            clean_jobs: true,
        }
    }

    #[test]
    fn rule_21_the_previous_hash_has_each_word_reversed() {
        let line = sample().line();
        let text = std::str::from_utf8(&line).unwrap();
        assert!(
            text.contains("\"03020100070605040b0a09080f0e0d0c13121110171615141b1a19181f1e1d1c\"")
        );
    }

    #[test]
    fn rule_21_branches_are_sent_as_they_are_hashed() {
        let line = sample().line();
        let text = std::str::from_utf8(&line).unwrap();
        let ascending = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
        let branches = format!(",[\"{ascending}\",\"{}\"],", "bb".repeat(32));
        assert!(text.contains(&branches), "{text}");
    }

    #[test]
    fn rule_20_numbers_keep_their_leading_zeros() {
        let notify = Notify { version: 2, nbits: 0x0312_3456, ntime: 255, ..sample() };
        let line = notify.line();
        let text = std::str::from_utf8(&line).unwrap();
        assert!(text.ends_with("\"00000002\",\"03123456\",\"000000ff\",true]}\n"), "{text}");
    }

    #[test]
    fn a_job_is_one_compact_line_that_ends_with_the_boolean() {
        let mut notify = sample();
        (notify.prev_hash, notify.merkle_path) = ([0; 32], Vec::new());
        let zeros = "0".repeat(64);
        let expected = format!(
            "{}\"1f\",\"{zeros}\",\"0102\",\"03\",[],{}\n",
            r#"{"id":null,"method":"mining.notify","params":["#,
            r#""20000000","1d00ffff","65a0f8e2",true]}"#,
        );
        assert_eq!(notify.line(), expected);
    }

    #[test]
    fn a_job_is_read_back() {
        let line = sample().line();
        let text = std::str::from_utf8(&line).unwrap();
        let read = Notify::read(&request(text.trim_end()).params);
        assert_eq!(read, Ok(sample()));
    }

    #[test]
    fn the_job_of_a_real_pool_is_read() {
        // The example of Slush's protocol description.
        let line = concat!(
            r#"{"params": ["bf", "#,
            r#""4d16b6f85af6e2198f44ae2a6de67f78487ae5611b77c6c0440b921e00000000","#,
            r#""010000000100000000000000000000000000000000000000000000000000000000"#,
            r#"00000000ffffffff20020862062f503253482f04b8864e5008","#,
            r#""072f736c7573682f000000000100f2052a010000001976a914d23fcdf86f7e756a"#,
            r#"64a7a9688ef9903327048ed988ac00000000", [],"00000002", "1c2ac4af", "#,
            r#""504e86b9", false], "id": null, "method": "mining.notify"}"#,
        );
        let notify = Notify::read(&request(line).params).unwrap();
        assert_eq!(notify.version, 2);
        // Internal byte order ends with the zeros of the proof of work.
        assert_eq!(notify.prev_hash[28..], [0; 4]);
        assert!(!notify.clean_jobs);
    }

    #[test]
    fn a_job_with_a_null_field_is_refused() {
        let line = concat!(
            r#"{"id":null,"method":"mining.notify","#,
            r#""params":["1",null,"","",[],"2","1d00ffff","0",true]}"#,
        );
        assert!(Notify::read(&request(line).params).is_err());
    }

    #[test]
    fn rule_22_difficulty_is_an_integer_or_a_plain_fraction() {
        let params = |difficulty| {
            let line = set_difficulty_line(difficulty);
            let start = line.find('[').unwrap();
            line[start..].trim_end().to_owned()
        };
        assert_eq!(params(16384.0), "[16384]}");
        assert_eq!(params(0.000_061_035_156_25), "[0.00006103515625]}");
        assert_eq!(params(2_f64.powi(60)), "[1152921504606846976]}");
    }

    #[test]
    fn difficulties_are_read_as_integer_float_and_text_but_never_zero() {
        let read = |json: &str| {
            let line = format!(r#"{{"id":1,"method":"m","params":[{json}]}}"#);
            read_difficulty(&request(&line).params)
        };
        assert_eq!(read("512"), Ok(512.0));
        assert_eq!(read("0.00015"), Ok(0.00015));
        assert_eq!(read("\"16\""), Ok(16.0));
        for refused in ["0", "-1", "null", "\"nan\"", "\"inf\"", "1e999", ""] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_extranonce_is_read_back() {
        let line = set_extranonce_line(&[0xab, 1], 8);
        let read = read_extranonce(&request(line.trim_end()).params);
        assert_eq!(read, Ok((vec![0xab, 1], 8)));
    }
}
