//! What the settings make the template-provider do, in plain sentences: for a person who is about
//! to start it. It must not check anything: what it is given is fine.

use super::Config;

/// A sentence for each thing that an operator would want to know before the start.
pub(super) fn explain(config: &Config) -> Vec<String> {
    let mut sentences = vec![
        format!("Pools connect to {}.", config.listen.address),
        format!("Templates are those of the node at {}.", config.node.rpc_url),
    ];
    let others = config.backup_nodes.iter();
    sentences.extend(others.map(|node| {
        format!("If it is gone or behind, those of {}; blocks go there as well.", node.rpc_url)
    }));
    if config.node.network.is_none() {
        let remedy = "any network is taken: set node.network to be safe";
        sentences.push(format!("Which network the node is on is not checked, and {remedy}."));
    }
    if config.enforcer.is_some() {
        sentences.push("Templates and blocks go by way of a drivechain's enforcer.".to_owned());
    }
    if config.shielded.is_some() {
        let way = "into a note of the chain, which only the key in [shielded] can spend";
        sentences.push(format!("The reward goes {way}."));
    }
    if !config.bmm.is_empty() {
        let count = config.bmm.len();
        sentences.push(format!("{count} sidechain slot(s) are merge mined (BIP301)."));
    }
    let blocks = config.vault.blocks_dir.as_deref();
    let beside = || "beside the secret key".to_owned();
    let blocks = blocks.map_or_else(beside, |it| format!("in {}", it.display()));
    sentences.push(format!("Found blocks are kept {blocks} until the node has judged them."));
    sentences.push(match &config.health.address {
        Some(address) => format!("http://{address} answers /health and /metrics."),
        None => "Nobody can ask how it is: health.address is not set.".to_owned(),
    });
    sentences
}
