//! Shares: a flood or a pace, with visitors and new tips if the plan wants them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::tips::times_since;
use super::{LOOK_PERIOD, Run, Usage, count, length};
use crate::figures::{Better, Figures, median, to_f64};
use crate::plan::{Flow, Pace};
use crate::provider::Tip;
use crate::tally::Tally;

/// After the last share, acknowledgements may come for so long.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// And are over when none has come for so long.
const DRAINED: Duration = Duration::from_millis(500);
/// Between a new tip and the flow that it makes room for.
const AFTER_TIP: Duration = Duration::from_millis(500);

/// One time of shares, as it went.
struct Course {
    before: Usage,
    after: Usage,
    /// Acknowledged until the last share was sent.
    accepted_in_time: u64,
    seconds: f64,
    tips: Vec<(Tip, Instant)>,
    tally: Tally,
}

impl Run<'_> {
    /// Runs `flow` as often as it wants; gives shares in 1000 seconds if it was a flood.
    pub(super) fn flow(&mut self, flow: &Flow, flood: Option<u64>) -> Result<Option<u64>> {
        let mut runs = Vec::new();
        for repeat in 0..flow.repeats.max(1) {
            // Another tip: what was remembered of the last run's shares is forgotten.
            if repeat > 0 && self.provider.is_some() {
                self.move_tip()?;
                sleep(AFTER_TIP);
            }
            let course = self.course(flow, flood)?;
            self.put_reasons(&course.tally);
            runs.push(self.figures_of(flow, &course));
        }
        self.figures.0.extend(Figures::median_of(&runs).0);
        let rate = |run: &Figures| run.value(&accepted_name(flow));
        let rate = median(runs.iter().filter_map(rate).collect());
        let is_flood = matches!(flow.pace, Pace::Window(_));
        Ok(rate.filter(|_| is_flood).map(per_1000_seconds))
    }

    fn course(&mut self, flow: &Flow, flood: Option<u64>) -> Result<Course> {
        self.progress.begin(flow.name, flow.seconds);
        let _ = self.crews.report()?;
        let before = self.usage()?;
        let accepted = count(&self.live.accepted);
        match flow.pace {
            Pace::Window(window) => self.crews.flood(window)?,
            Pace::Per1000Seconds(pace) => self.crews.pace(pace, flow.wrong_every)?,
            Pace::HalfOfFlood => {
                let flood = flood.context("half of a flood needs a flood before it")?;
                self.crews.pace(flood / 2, flow.wrong_every)?;
            }
        }
        if flow.visitors_per_1000_seconds > 0 {
            self.crews.visit(flow.visitors_per_1000_seconds)?;
        }
        let tips = self.wait_out(flow, before.at)?;
        self.crews.rest()?;
        let seconds = before.at.elapsed().as_secs_f64();
        let accepted_in_time = count(&self.live.accepted) - accepted;
        self.drain();
        let after = self.usage()?;
        let tally = self.crews.report()?;
        Ok(Course { before, after, accepted_in_time, seconds, tips, tally })
    }

    /// Waits until the flow's time is over, and moves the tip meanwhile if the flow wants it.
    fn wait_out(&mut self, flow: &Flow, start: Instant) -> Result<Vec<(Tip, Instant)>> {
        let mut tips = Vec::new();
        let period = Duration::from_secs(flow.tip_every_seconds);
        let mut next_tip = (!period.is_zero()).then(|| start + period);
        while start.elapsed() < Duration::from_secs(flow.seconds) {
            if next_tip.is_some_and(|at| Instant::now() >= at) {
                tips.push(self.move_tip()?);
                next_tip = next_tip.map(|at| at + period);
            }
            self.progress.at(start.elapsed().as_secs());
            // A pool that has died is noticed at once.
            self.usage()?;
            sleep(LOOK_PERIOD * 10);
        }
        Ok(tips)
    }

    fn drain(&self) {
        let start = Instant::now();
        let (mut seen, mut moved_at) = (count(&self.live.accepted), start);
        while start.elapsed() < DRAIN_MAX && moved_at.elapsed() < DRAINED {
            sleep(LOOK_PERIOD);
            let accepted = count(&self.live.accepted);
            if accepted != seen {
                (seen, moved_at) = (accepted, Instant::now());
            }
        }
    }

    fn figures_of(&mut self, flow: &Flow, course: &Course) -> Figures {
        let outer = std::mem::take(&mut self.figures);
        self.put_course(flow, course);
        std::mem::replace(&mut self.figures, outer)
    }

    fn put_course(&mut self, flow: &Flow, course: &Course) {
        let Course { before, after, tally, .. } = course;
        let name = flow.name;
        let rate = to_f64(course.accepted_in_time) / course.seconds;
        self.figures.put(&accepted_name(flow), "/s", rate, Better::Higher);
        self.put_cost(&format!("accepted share ({name})"), *before, *after, tally.accepted);
        self.figures.put_times(&format!("{name}: acknowledgement"), &tally.acknowledging);
        if flow.wrong_every > 0 {
            self.figures.put_times(&format!("{name}: rejection"), &tally.rejecting);
        }
        for (code, count) in tally.rejected.iter() {
            let (name, count) = (format!("{name}: rejected, {code}"), to_f64(count));
            self.figures.put(&name, "", count, Better::Neither);
        }
        self.figures.put_faults(&format!("{name}: shares held back"), tally.withheld);
        let starved = tally.per_connection.iter().filter(|count| **count == 0).count();
        let starved = u64::try_from(starved).unwrap_or(u64::MAX);
        self.figures.put_faults(&format!("{name}: connections without an answer"), starved);
        if let Some(least) = least_of_median(&tally.per_connection) {
            let name = format!("{name}: slowest connection, of the median");
            self.figures.put(&name, "%", least, Better::Higher);
        }
        self.put_surroundings(flow, course);
    }

    /// Visitors and new tips.
    fn put_surroundings(&mut self, flow: &Flow, course: &Course) {
        let (name, tally) = (flow.name, &course.tally);
        if flow.visitors_per_1000_seconds > 0 {
            let visits = to_f64(tally.visits);
            self.figures.put(&format!("{name}: visitors"), "", visits, Better::Neither);
            let failed = tally.failed_visits.total();
            self.figures.put_faults(&format!("{name}: visitors turned away"), failed);
            for (reason, count) in tally.failed_visits.iter() {
                self.figures.put_faults(&format!("{name}: turned away: {reason}"), count);
            }
        }
        if !course.tips.is_empty() {
            let times = times_since(tally, &course.tips);
            self.figures.put_times(&format!("{name}: new tip"), &times);
            let expected = self.connected().saturating_mul(length(&course.tips));
            let missing = expected.saturating_sub(times.len());
            self.figures.put_faults(&format!("{name}: new tips missing"), missing);
        }
    }
}

fn accepted_name(flow: &Flow) -> String {
    format!("{}: acknowledged", flow.name)
}

#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "a rate in range")]
#[expect(clippy::cast_sign_loss, reason = "a rate is not negative")]
fn per_1000_seconds(rate: f64) -> u64 {
    (rate * 1_000.0) as u64
}

/// The connection with the fewest acknowledged shares, in percent of the median connection.
fn least_of_median(counts: &[u64]) -> Option<f64> {
    let least = counts.iter().min()?;
    let middle = median(counts.iter().map(|count| to_f64(*count)).collect())?;
    (middle > 0.0).then(|| to_f64(*least) / middle * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_connection_is_held_against_the_median() {
        assert_eq!(least_of_median(&[50, 100, 100, 120]), Some(50.0));
        assert_eq!(least_of_median(&[0, 10, 10]), Some(0.0));
        assert_eq!(least_of_median(&[]), None);
    }

    #[test]
    fn half_of_a_flood_is_reckoned_from_its_rate() {
        assert_eq!(per_1000_seconds(1_234.5) / 2, 617_250);
    }
}
