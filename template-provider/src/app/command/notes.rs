//! `notes`: the rewards that stand in the chain, without any state of the program but its secret.

use std::time::{Duration, UNIX_EPOCH};

use bitcoin::consensus::Decodable;
use bitcoin::hashes::Hash;
use bitcoin::hex::FromHex;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use service::config::ConfigError;
use service::program::{Failure, Server, Sources, block_on, say, tell};

use super::settings;
use crate::app::{Config, TemplateProvider};
use crate::coinbase::shielded::extension::parcel;
use crate::coinbase::shielded::maker::{MadeNote, NoteMaker};
use crate::coinbase::shielded::note::is_output_script;
use crate::coinbase::shielded::secret::NoteSecret;
use crate::extension::AcceptedBlock;
use crate::node::Node;
use crate::outbox::store::{Pending, Put, Store};
use rpc::{Rpc, RpcError};

/// How long the node may take for one answer: an old block comes from a slow disk.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What can be done with the notes of shielded coinbases.
#[derive(Debug, Subcommand)]
pub enum NotesCommand {
    /// Make the notes of blocks in the chain again and print each as a line of JSON, with what
    /// opens it: for the owner's eyes alone.
    Recover(Recover),
}

/// Which notes, and what to do with them.
#[derive(Debug, Args)]
pub struct Recover {
    /// The server's settings: pubkey, note_hash and secret_file as they were for the blocks.
    #[command(flatten)]
    sources: Sources,
    /// The first height to look at.
    #[arg(long, default_value_t = 1)]
    from_height: u32,
    /// The last height to look at; by default the tip's.
    #[arg(long)]
    to_height: Option<u32>,
    /// Look at this block alone.
    #[arg(long, conflicts_with_all = ["from_height", "to_height"])]
    block: Option<String>,
    /// Put the notes into the outbox too: the program delivers what it has not delivered yet.
    #[arg(long)]
    submit: bool,
    /// Put in as well what was delivered before: for a sidecar that lost it.
    #[arg(long, requires = "submit")]
    again: bool,
}

impl NotesCommand {
    pub(super) fn carry_out(self) -> Result<(), Failure> {
        let Self::Recover(recover) = self;
        let config = settings(&recover.sources)?;
        let recovery = Recovery::new(&config, &recover)?;
        block_on(TemplateProvider::NAME, |_| recovery.run(recover))
    }
}

/// A block as far as its note is concerned.
struct Block {
    place: AcceptedBlock,
    prev_hash: [u8; 32],
    /// Of the coinbase's outputs.
    scripts: Vec<Vec<u8>>,
    value: u64,
}

struct Recovery {
    maker: NoteMaker,
    rpc: Rpc,
    outbox: Option<Store>,
    /// Whether what was delivered is delivered again.
    again: bool,
}

impl Recovery {
    fn new(config: &Config, recover: &Recover) -> Result<Self, Failure> {
        let Some(shielded) = &config.shielded else {
            let remedy = "the settings have no such table; name those that the blocks were made by";
            return Err(ConfigError::unusable("shielded", remedy).into());
        };
        let settings = shielded.settings()?;
        let file = config.notes_secret_file(shielded);
        let Some(secret) = NoteSecret::open(&file)? else {
            let remedy = format!("{} is not there; bring its copy", file.display());
            return Err(ConfigError::unusable("shielded.secret_file", remedy).into());
        };
        let outbox = recover.submit.then(|| Store::open(&config.outbox_dir())).transpose();
        let outbox = outbox.map_err(|error| {
            let remedy = format!("{}: {error}; name a writable one", config.outbox_dir().display());
            ConfigError::unusable("outbox.dir", remedy)
        })?;
        let maker = NoteMaker { hash: settings.hash, owner: settings.owner, secret };
        let rpc = Node::from_config(&config.node)?.connection();
        Ok(Self { maker, rpc, outbox, again: recover.again })
    }

    async fn run(mut self, recover: Recover) -> Result<(), Failure> {
        let places = match recover.block {
            Some(hash) => vec![self.place(hash).await.map_err(|error| no_answer(&error))?],
            None => Vec::new(),
        };
        if let Some(place) = places.into_iter().next() {
            if !self.recover(place).await? {
                let message = "this block holds no note of this secret, key and note_hash";
                return Err(Failure::Usage(message.to_owned()));
            }
            return Ok(());
        }
        let tip: u32 = self
            .rpc
            .ask("getblockcount", json!([]), ANSWER_MAX)
            .await
            .map_err(|error| no_answer(&error))?;
        for height in recover.from_height..=recover.to_height.unwrap_or(tip).min(tip) {
            let hash = self.rpc.ask("getblockhash", json!([height]), ANSWER_MAX).await;
            let hash = hash.map_err(|error| no_answer(&error))?;
            self.recover(AcceptedBlock { hash, height }).await?;
        }
        Ok(())
    }

    /// Where a block stands; one that is in no chain has no note to be delivered.
    async fn place(&mut self, hash: String) -> Result<AcceptedBlock, RpcError> {
        #[derive(Deserialize)]
        struct Header {
            height: u32,
            confirmations: i64,
        }

        let header: Header = self.rpc.ask("getblockheader", json!([&hash]), ANSWER_MAX).await?;
        if header.confirmations < 1 {
            let error = format!("block {hash} is not in the node's best chain");
            return Err(RpcError::Malformed { method: "getblockheader", error });
        }
        Ok(AcceptedBlock { hash, height: header.height })
    }

    /// False if the block holds no note that can be made again.
    async fn recover(&mut self, place: AcceptedBlock) -> Result<bool, Failure> {
        let block = self.read(place).await.map_err(|error| no_answer(&error))?;
        if !block.scripts.iter().any(|script| is_output_script(script)) {
            return Ok(false);
        }
        let values = self.values(&block).await.map_err(|error| no_answer(&error))?;
        let Block { place, prev_hash, scripts, .. } = block;
        let Some(made) = self.maker.recover(prev_hash, place.height, &values, &scripts) else {
            return Ok(false);
        };
        show(&place, &made);
        if let Some(outbox) = &self.outbox {
            let pending = Pending::new(place, parcel(&made));
            let put = if self.again { outbox.put_again(&pending) } else { outbox.put(&pending) };
            let put = put.map_err(|error| Failure::Internal(error.into()))?;
            tell(format_args!("{}: {}", made.commitment, outcome(put)));
        }
        Ok(true)
    }

    async fn read(&mut self, place: AcceptedBlock) -> Result<Block, RpcError> {
        let hex: String = self.rpc.ask("getblock", json!([&place.hash, 0]), ANSWER_MAX).await?;
        let malformed = |error: String| RpcError::Malformed { method: "getblock", error };
        let bytes = <Vec<u8>>::from_hex(&hex).map_err(|error| malformed(error.to_string()))?;
        let (prev_hash, coinbase) =
            start_of_block(&bytes).map_err(|error| malformed(error.to_string()))?;
        let values = coinbase.output.iter().map(|output| output.value.to_sat());
        Ok(Block {
            place,
            prev_hash,
            value: values.fold(0, u64::saturating_add),
            scripts: coinbase.output.iter().map(|one| one.script_pubkey.to_bytes()).collect(),
        })
    }

    /// What the note may be worth, which the coinbase does not say where its outputs are zero.
    async fn values(&mut self, block: &Block) -> Result<[u64; 3], RpcError> {
        #[derive(Deserialize)]
        struct Stats {
            subsidy: u64,
            totalfee: u64,
        }

        let params = json!([&block.place.hash, ["subsidy", "totalfee"]]);
        let stats: Stats = self.rpc.ask("getblockstats", params, ANSWER_MAX).await?;
        Ok([stats.subsidy.saturating_add(stats.totalfee), stats.subsidy, block.value])
    }
}

/// Hash of the block before, internal byte order, and the coinbase.
fn start_of_block(
    mut bytes: &[u8],
) -> Result<([u8; 32], bitcoin::Transaction), bitcoin::consensus::encode::Error> {
    let header = bitcoin::block::Header::consensus_decode(&mut bytes)?;
    bitcoin::VarInt::consensus_decode(&mut bytes)?;
    let coinbase = bitcoin::Transaction::consensus_decode(&mut bytes)?;
    Ok((header.prev_blockhash.to_byte_array(), coinbase))
}

fn show(block: &AcceptedBlock, made: &MadeNote) {
    say(json!({
        "block": block.hash,
        "height": block.height,
        "commitment": made.commitment.to_string(),
        "value": made.note.value,
        "randomness": made.note.randomness.reveal(),
        "submit": made.sealed,
    }));
}

/// For the person who put a note in.
fn outcome(put: Put) -> String {
    match put {
        Put::New => "waits for its delivery".to_owned(),
        Put::Waiting => "waits for its delivery already".to_owned(),
        Put::Refused => "was refused: use `template-provider outbox retry`".to_owned(),
        Put::Delivered { delivered_at } => {
            let when = delivered_at.map(|at| {
                let at = UNIX_EPOCH + Duration::from_secs(at);
                format!(", {} s ago", at.elapsed().unwrap_or_default().as_secs())
            });
            let when = when.unwrap_or_default();
            format!("was delivered already{when}: use --again if it must be delivered anew")
        }
    }
}

fn no_answer(error: &RpcError) -> Failure {
    Failure::Usage(format!("the node cannot tell: {error}"))
}
