//! The keys of a Python server's `.env` that are the provider's: the node, the chain's extra
//! outputs, and where they come from and go to.

use service::config::ConfigError;
use service::drop_in::DropIn;

/// Where a node is if nothing is said of its host.
const HERE: (&str, Option<u16>) = ("127.0.0.1", None);

/// Makes settings of the keys.
pub(super) fn take_over(keys: &mut DropIn) -> Result<(), ConfigError> {
    node(keys)
}

fn node(keys: &mut DropIn) -> Result<(), ConfigError> {
    if let Some(address) = keys.address(("RPC_HOST", "RPC_PORT"), HERE)? {
        keys.set("node.rpc_url", format!("http://{address}"));
    }
    if let Some((user, password)) = keys.login("RPC_USER", "RPC_PASSWORD")? {
        keys.remove("node.cookie_file");
        keys.remove("node.password_file");
        keys.set("node.user", user);
        keys.set("node.password", password);
    }
    // There, new jobs came so often; here too, and at once when there is a new tip.
    if let Some(seconds) = keys.number("JOB_REFRESH_INTERVAL", 1..=3600_i64)? {
        keys.set("node.template_refresh_seconds", seconds);
    }
    Ok(())
}
