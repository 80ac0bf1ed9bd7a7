//! `mining.submit`: a share as miners write it.
//!
//! Whether it is a good one is not decided here.

use std::borrow::Cow;

use bitcoin::hex::{DisplayHex, FromHex};

use super::request::{InvalidParams, Params, request_line};

/// No extranonce2 is longer, in bytes.
const EXTRANONCE_2_BYTES_MAX: usize = 32;

/// A share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit<'a> {
    /// Who found it.
    pub worker: Cow<'a, str>,
    /// The job, as the server named it.
    pub job_id: Cow<'a, str>,
    /// The part of the extranonce that the miner rolled, as it stands in the coinbase.
    pub extranonce_2: Vec<u8>,
    /// Header nTime.
    pub ntime: u32,
    /// Header nonce.
    pub nonce: u32,
    /// BIP310: the bits of the version within the mask; absent if the miner does not roll.
    pub version_bits: Option<u32>,
}

impl<'a> Submit<'a> {
    /// Reads `[WORKER, JOB, EXTRANONCE2, NTIME, NONCE, VERSION_BITS?, ...]`.
    ///
    /// The numbers are hexadecimal, may lack leading zeros and be in either case.
    pub fn read(params: &Params<'a>) -> Result<Self, InvalidParams> {
        let elements = params.elements()?;
        let number = |index, error| {
            let text = elements.text(index);
            text.and_then(|text| hex_u32(&text)).ok_or(error)
        };
        let extranonce_2 = elements
            .text(2)
            .filter(|text| text.len() <= 2 * EXTRANONCE_2_BYTES_MAX)
            .and_then(|text| Vec::from_hex(&text).ok())
            .ok_or(InvalidParams("extranonce2 must be hexadecimal"))?;
        let version_bits = match elements.raw(5) {
            Some(raw) if raw.get() != "null" => {
                Some(number(5, InvalidParams("version bits must be hexadecimal"))?)
            }
            _ => None,
        };
        Ok(Self {
            worker: elements.text(0).ok_or(InvalidParams("the worker name must be a string"))?,
            job_id: elements.text(1).ok_or(InvalidParams("the job id must be a string"))?,
            extranonce_2,
            ntime: number(3, InvalidParams("ntime must be hexadecimal"))?,
            nonce: number(4, InvalidParams("nonce must be hexadecimal"))?,
            version_bits,
        })
    }

    /// The miner's request, with numbers at their full width.
    pub fn line(&self, id: u64) -> String {
        let mut params = vec![
            self.worker.to_string(),
            self.job_id.to_string(),
            self.extranonce_2.to_lower_hex_string(),
            format!("{:08x}", self.ntime),
            format!("{:08x}", self.nonce),
        ];
        params.extend(self.version_bits.map(|bits| format!("{bits:08x}")));
        request_line(id, "mining.submit", &params)
    }
}

/// One to eight hexadecimal digits as a number.
pub fn hex_u32(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `from_str_radix` alone would take a sign.
    digits.then(|| u32::from_str_radix(text, 16).ok()).flatten().filter(|_| text.len() <= 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sv1::request::Line;

    fn read(text: &str) -> Result<Submit<'_>, InvalidParams> {
        match Line::parse(text).unwrap() {
            Line::Request(request) => Submit::read(&request.params),
            Line::Response(_) => panic!("a response: {text}"),
        }
    }

    #[test]
    fn a_nonce_without_leading_zeros_is_read() {
        let line = concat!(
            r#"{"params":["bc1q.w","1f","00000001","65a0f8e2","b346"],"#,
            r#""id":44,"method":"mining.submit"}"#,
        );
        let submit = read(line).unwrap();
        assert_eq!(submit.nonce, 0xb346);
        assert_eq!(submit.extranonce_2, [0, 0, 0, 1]);
        assert_eq!(submit.version_bits, None);
    }

    #[test]
    fn upper_case_and_further_parameters_are_taken() {
        let line = concat!(
            r#"{"id":4,"method":"mining.submit","params":["a","1","0000ABCD","65A0F8E2","#,
            r#""0000B346","1FFFE000",7,null]}"#,
        );
        let submit = read(line).unwrap();
        assert_eq!(submit.extranonce_2, [0, 0, 0xab, 0xcd]);
        assert_eq!(submit.version_bits, Some(0x1fff_e000));
    }

    #[test]
    fn what_is_no_share_is_refused_by_the_name_of_its_field() {
        let line =
            |params: &str| format!(r#"{{"id":4,"method":"mining.submit","params":{params}}}"#);
        for (params, field) in [
            (r#"["a","1","00","00"]"#, "nonce"),
            (r#"["a","1","00","+1","0"]"#, "ntime"),
            (r#"["a","1","0","0","0"]"#, "extranonce2"),
            (r#"["a","1","00","0","123456789"]"#, "nonce"),
            (r#"["a","1","00","0",""]"#, "nonce"),
            (r#"["a","1","00","0","0","-1"]"#, "version bits"),
            (r#"["a",1,"00","0","0"]"#, "job id"),
            (r#"[]"#, "extranonce2"),
        ] {
            let error = read(&line(params)).unwrap_err();
            assert!(error.0.contains(field), "{params}: {error}");
        }
    }

    #[test]
    fn a_share_that_was_built_is_read_back() {
        let submit = Submit {
            worker: "w\u{e9}\"".into(),
            job_id: "a".into(),
            extranonce_2: vec![1, 2, 3, 4],
            ntime: 0x6000_0001,
            nonce: 7,
            version_bits: Some(0x2000),
        };
        let line = submit.line(4);
        assert_eq!(read(line.trim_end()), Ok(submit));
    }
}
