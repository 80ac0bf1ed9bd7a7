//! A node's answer to getblocktemplate: it is refused, or a template is made of it whose coinbase
//! pays no more than the node allows.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use template_provider::node::answer::{Answer, Reader};
use template_provider::templates::build::{Extensions, build, spare, without_transactions};

fuzz_target!(|data: &[u8]| {
    let Ok(answer) = serde_json::from_slice::<Answer>(data) else { return };
    let Ok(offer) = Reader::default().read(answer) else { return };
    let none: Extensions = Arc::new([]);
    for offer in [Some(offer.clone()), without_transactions(&offer).ok()].into_iter().flatten() {
        let Ok(contents) = build(&offer, &none) else { continue };
        assert!(contents.value_remaining <= offer.coinbase_value);
        assert_eq!(contents.transactions.len(), offer.transactions.len());
        let _ = (contents.outputs(), spare(&offer, &contents));
    }
});
