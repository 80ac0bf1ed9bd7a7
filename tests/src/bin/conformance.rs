//! Writes the table of docs/conformance.md anew from the tests. It touches nothing else.

use anyhow::{Context, Result};
use tests::conformance::{DOCUMENT, rules, with_table};
use tests::sources::{all, root};

fn main() -> Result<()> {
    let path = root().join(DOCUMENT);
    let old = std::fs::read_to_string(&path).context(DOCUMENT)?;
    let new = with_table(&old, &rules(&all(&[".rs"])?)?)?;
    std::fs::write(&path, new).context(DOCUMENT)
}
