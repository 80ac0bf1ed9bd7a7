//! Holds payouts back when the operator says so, and shows how they stand.
//!
//! That they are held back stands in a file, so that no restart pays what a person has stopped;
//! whoever cannot reach the pool may make the file, or remove it, by hand. What is written to the
//! log is sent all the same: from that moment on it counts as paid.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use service::health::Health;

use crate::accounting::bookkeeper::Shelf;
use crate::admin::{Sent, Till, TillNow};
use crate::payout::settlement::sum;
use crate::payout::wallet::WalletConfig;

/// In the ledger's folder.
const FILE: &str = "payouts.paused";
/// The payouts' name in /health.
const PAYOUTS: &str = "payouts";

/// Whether new payouts are held back. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Pause {
    file: PathBuf,
    health: Health,
}

impl Pause {
    pub(super) fn new(ledger: &Path, health: Health) -> Self {
        let this = Self { file: ledger.join(FILE), health };
        this.show();
        this
    }

    /// True too while nobody can tell.
    pub(super) fn holds(&self) -> bool {
        self.file.try_exists().unwrap_or(true)
    }

    fn begin(&self) -> io::Result<()> {
        File::create(&self.file)?.sync_all()?;
        self.settle()
    }

    fn end(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.settle(),
        }
    }

    /// A file's name is durable when its folder is.
    fn settle(&self) -> io::Result<()> {
        self.show();
        self.file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    /// It must not be forgotten: monitors see it, and nothing is missed for it.
    pub(super) fn show(&self) {
        match self.holds() {
            true => self.health.lost_spare(PAYOUTS, "paused by the operator"),
            false => self.health.found(PAYOUTS, "not held back"),
        }
    }
}

/// What an operator sees of payouts, and holds back.
pub(super) struct WalletTill {
    pub(super) shelf: Shelf,
    pub(super) config: WalletConfig,
    pub(super) pause: Pause,
}

impl Till for WalletTill {
    fn now(&self) -> TillNow {
        let due = self.shelf.payable(self.config.threshold_sat).into_iter();
        let sent = self.shelf.unconfirmed().into_iter().map(|payout| Sent {
            transaction: payout.transaction.to_string(),
            accounts: payout.lines.len(),
            amount: sum(&payout.lines),
            fee: payout.fee,
        });
        TillNow {
            is_paused: self.pause.holds(),
            is_dry_run: self.config.dry_run,
            threshold: self.config.threshold_sat,
            every_seconds: self.config.every_seconds,
            due: due.map(|line| (line.account, line.amount)).collect(),
            sent: sent.collect(),
        }
    }

    fn pause(&self) -> io::Result<()> {
        self.pause.begin()
    }

    fn go_on(&self) -> io::Result<()> {
        self.pause.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_stays_so_over_a_restart_until_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let health = Health::new(&[]);
        let pause = Pause::new(folder.path(), health.clone());
        assert!(!pause.holds());
        assert_eq!(health.shown(PAYOUTS).map(|(up, _)| up), Some(true));
        pause.begin().unwrap();
        let next = Pause::new(folder.path(), health.clone());
        assert!(next.holds());
        assert_eq!(health.shown(PAYOUTS), Some((false, "paused by the operator".to_owned())));
        assert!(health.is_well(), "it is shown, and missed by nobody");
        next.end().unwrap();
        next.end().unwrap();
        assert!(!pause.holds());
    }

    #[test]
    fn a_folder_that_cannot_be_read_pays_nothing_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let pause = Pause::new(&file, Health::new(&[]));
        assert!(pause.holds());
        assert!(pause.begin().is_err());
    }
}
