//! Thunder: h* and the side block from `get_block_template`; the block goes back by `connect_block`
//! once the main block that accepts it is in the chain.
//!
//! A side block names the main block that it follows: for another it is worth nothing.

use std::sync::Arc;

use bitcoin::hex::FromHex;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::rpc::{INVALID_PARAMS, Rpc};
use super::{Answer, AskError, reversed};
use crate::extension::Delivery;

/// The largest side block as JSON. It is kept with each template that accepts it and written down
/// with a found block, which waits for the disk; a larger one is not mined.
const BLOCK_BYTES_MAX: usize = 1024 * 1024;

/// What `get_block_template` answers, as far as it is needed.
#[derive(Deserialize)]
struct Template {
    critical_hash: String,
    block: Box<RawValue>,
}

#[derive(Deserialize)]
struct Block {
    header: Header,
}

#[derive(Deserialize)]
struct Header {
    prev_main_hash: String,
}

/// Asks for the next side block.
pub(super) async fn ask(rpc: &mut Rpc) -> Result<Answer, AskError> {
    let template: Template = rpc.call("get_block_template", json!([])).await?;
    let json = template.block.get();
    if json.len() > BLOCK_BYTES_MAX {
        let bytes = json.len();
        let text = format!("the side block has {bytes} bytes of JSON; at most {BLOCK_BYTES_MAX}");
        return Err(AskError::Malformed(text));
    }
    let malformed = |error: &dyn std::fmt::Display| {
        AskError::Malformed(format!("get_block_template makes no sense: {error}"))
    };
    let block: Block = serde_json::from_str(json).map_err(|error| malformed(&error))?;
    let hash = |hex: &str| <[u8; 32]>::from_hex(hex).map_err(|error| malformed(&error));
    Ok(Answer {
        h_star: hash(&template.critical_hash)?,
        prev_hash: Some(reversed(hash(&block.header.prev_main_hash)?)),
        block: Some(Arc::from(json)),
    })
}

/// Gives the side block back: `main_hash` (display order) accepts it.
pub(super) async fn connect(
    rpc: &mut Rpc,
    block: &str,
    h_star: &str,
    main_hash: &str,
) -> Result<Delivery, AskError> {
    let params = format!("[{block},{}]", json!(main_hash));
    match rpc.call_raw::<bool>("connect_block", &params).await {
        Ok(true) => return Ok(Delivery::Done),
        Err(AskError::Server { code: INVALID_PARAMS, message }) => {
            return Ok(Delivery::Refused(format!("Thunder cannot read its block: {message}")));
        }
        // It says so as well of a block that it has, and of a main block that it has not seen yet.
        Ok(false) | Err(AskError::Server { .. }) => {}
        Err(error) => return Err(error),
    }
    let best: Option<String> = rpc.call("get_best_sidechain_block_hash", json!([])).await?;
    match best.as_deref() == Some(h_star) {
        true => Ok(Delivery::Done),
        // Another block may stand on it by now: then this one will never be the best.
        false => Ok(Delivery::Declined("Thunder does not connect the side block".to_owned())),
    }
}
