//! What a client is given when its template cannot be made.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::SeedableRng;
use rand::rngs::StdRng;
use service::certificates::Certificates;
use service::metrics::Metrics;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wire::sv2::keys::AuthoritySecret;

use super::*;
use crate::app::rooms::Rooms;
use crate::app::spooling::Spooling;
use crate::app::submission::Submissions;
use crate::block_template::WEIGHT_LIMIT;
use crate::extension::{AcceptedBlock, Addition, Delivery, Extension, Facts, Hook, Parcel};
use crate::outbox::store::Store as Outbox;
use crate::spool::Files;
use crate::templates::build::Extensions;
use crate::templates::draft::Draft;
use crate::templates::samples;
use crate::templates::store::{Offer, Store};
use crate::vault::Vault;

/// Mandatory, and without outputs now and then.
#[derive(Debug, Default)]
struct Moody {
    is_silent: AtomicBool,
}

impl Extension for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }

    fn is_mandatory(&self) -> bool {
        true
    }

    fn output_bytes_max(&self) -> u32 {
        100
    }

    fn outputs(&self, facts: Facts<'_>) -> Result<Addition, String> {
        match self.is_silent.load(Ordering::Relaxed) {
            true => Err("it has none now".to_owned()),
            false => Ok(Addition::nothing(&facts)),
        }
    }

    fn on_accepted<'a>(&'a self, _: &'a AcceptedBlock, _: &'a Parcel) -> Hook<'a, Delivery> {
        Box::pin(async { Delivery::Done })
    }
}

type Offers = watch::Sender<Option<Arc<Offer>>>;

/// A client that must have templates trimmed, at an offer with the outputs of `moody`.
fn client(directory: &TempDir, moody: &Arc<Moody>) -> (Client, Offers) {
    let extension: Arc<dyn Extension> = Arc::<Moody>::clone(moody);
    let extensions = Extensions::from([extension]);
    let full = samples::transaction(1, &[], 1000, WEIGHT_LIMIT - 10_000, 1);
    let block = Arc::new(samples::offer(&[full]));
    let draft = Arc::new(Draft::new(block, Arc::clone(&extensions)).unwrap());
    let published_at = clock::now();
    let offer = Offer { number: 1, tip: 1, published_at, tip_heard_at: None, draft };
    let offers = watch::Sender::new(Some(Arc::new(offer)));
    let metrics = Metrics::new("test");
    let path = directory.path();
    let (vault, outbox) = (Vault::open(&path.join("vault")), Outbox::open(&path.join("outbox")));
    let secret = AuthoritySecret::generate(&mut StdRng::seed_from_u64(1));
    let hub = Hub {
        certificates: Certificates::new(secret, 60),
        store: Arc::new(Store::new(1, 0)),
        offers: offers.subscribe(),
        submissions: Submissions::new(Arc::from([]), vault.unwrap(), outbox.unwrap(), &metrics),
        rooms: Rooms::beside(&extensions),
        spooling: Spooling::new(Files::open(&path.join("spool")).unwrap()),
        tip_seconds: metrics.histogram("tip_seconds", "Seconds", &[1.0]),
        shutdown: CancellationToken::new(),
    };
    (Client::new(([127, 0, 0, 1], 1).into(), hub), offers)
}

async fn constrain(client: &mut Client, output_bytes: u32) {
    let constraints = CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: output_bytes,
        coinbase_output_max_additional_sigops: 4,
    };
    client.take_event(Event::ConstraintsSet(constraints)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_a_mandatory_extension_and_gets_its_template_once_it_has_outputs() {
    let (directory, moody) = (TempDir::new().unwrap(), Arc::new(Moody::default()));
    let (mut client, _offers) = client(&directory, &moody);
    moody.is_silent.store(true, Ordering::Relaxed);
    constrain(&mut client, 50_000).await;
    let waiting = tokio::time::timeout(OWED_RETRY * 5, client.next_command()).await;
    assert!(waiting.is_err(), "neither closed nor offered: {waiting:?}");
    moody.is_silent.store(false, Ordering::Relaxed);
    let command = client.next_command().await;
    assert!(matches!(command, Some(Command::Offer(_))), "{command:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_more_than_a_block_is_told_at_once() {
    let (directory, moody) = (TempDir::new().unwrap(), Arc::new(Moody::default()));
    let (mut client, _offers) = client(&directory, &moody);
    constrain(&mut client, 4_000_000).await;
    let command = client.next_command().await;
    assert!(matches!(command, Some(Command::Close(_))), "{command:?}");
}
