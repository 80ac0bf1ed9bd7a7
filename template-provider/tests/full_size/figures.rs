//! What trimming costs, in fees and in time.

use std::time::Duration;

use template_provider::block_template::{BlockTemplate, fees};
use template_provider::templates::build::Contents;

/// One room.
struct Run {
    /// Of all fees, in millionths; of what was kept, and of what could be kept at the very most.
    kept: f64,
    bound: f64,
    /// What stayed free of what was there: weight units and cost.
    slack: (u64, u64),
    took: Duration,
    judged: Duration,
}

/// All rooms.
#[derive(Default)]
pub(crate) struct Figures {
    runs: Vec<Run>,
}

impl Figures {
    /// A template was trimmed in `took` to `limit` (weight and cost), and the node judged it.
    pub(crate) fn note(
        &mut self,
        offer: &BlockTemplate,
        kept: &Contents,
        limit: (u64, u64),
        took: Duration,
        judged: Duration,
    ) {
        let all = to_float(fees(&offer.transactions));
        let load = kept
            .transactions
            .iter()
            .fold((0, 0), |sum, one| (sum.0 + one.weight, sum.1 + one.sigops.unwrap()));
        self.runs.push(Run {
            kept: to_float(fees(&kept.transactions)) / all,
            bound: bound(offer, limit) / all,
            slack: (limit.0 - load.0, limit.1 - load.1),
            took,
            judged,
        });
    }

    pub(crate) fn print(&self) {
        let count = self.runs.len();
        let mean = |of: &dyn Fn(&Run) -> f64| {
            self.runs.iter().map(of).sum::<f64>() / to_float(count.try_into().unwrap())
        };
        let worst = |of: &dyn Fn(&Run) -> f64| self.runs.iter().map(of).fold(0.0, f64::max);
        println!("{count} rooms, all accepted");
        let lost = |run: &Run| 1.0 - run.kept;
        println!("fees left out: mean {:.4} worst {:.4}", mean(&lost), worst(&lost));
        let gap = |run: &Run| run.bound - run.kept;
        println!("fees below the bound: mean {:.4} worst {:.4}", mean(&gap), worst(&gap));
        let weight = |run: &Run| to_float(run.slack.0);
        println!("weight left: mean {:.0} worst {:.0}", mean(&weight), worst(&weight));
        let full = |run: &Run| f64::from(u8::from(run.slack.1 < 80 || run.slack.0 < 400));
        println!("limited by weight (400) or sigops (80) to the last: {:.3}", mean(&full));
        let took = |run: &Run| run.took.as_secs_f64() * 1000.0;
        println!("trimming: mean {:.2} ms worst {:.2} ms", mean(&took), worst(&took));
        let judged = |run: &Run| run.judged.as_secs_f64() * 1000.0;
        println!("the node's answer: mean {:.0} ms worst {:.0} ms", mean(&judged), worst(&judged));
    }
}

/// More than any choice can keep: for each limit alone, the best by what a unit of it pays, the
/// last one in part.
fn bound(offer: &BlockTemplate, limit: (u64, u64)) -> f64 {
    let best = |limit: u64, of: &dyn Fn(usize) -> u64| {
        let fee = |index: usize| to_float(offer.transactions[index].fee.unwrap());
        let mut order: Vec<usize> = (0..offer.transactions.len()).collect();
        let density = |index: usize| fee(index) / to_float(of(index));
        order.sort_by(|a, b| density(*b).total_cmp(&density(*a)));
        let (mut left, mut sum) = (to_float(limit), 0.0);
        for index in order {
            let part = (left / to_float(of(index))).min(1.0);
            sum += if of(index) == 0 { fee(index) } else { fee(index) * part };
            left -= part * to_float(of(index));
        }
        sum
    };
    let weight = best(limit.0, &|index| offer.transactions[index].weight);
    let sigops = best(limit.1, &|index| offer.transactions[index].sigops.unwrap());
    weight.min(sigops)
}

fn to_float(number: u64) -> f64 {
    f64::from(u32::try_from(number / 1000).unwrap()) * 1000.0
        + f64::from(u32::try_from(number % 1000).unwrap())
}
