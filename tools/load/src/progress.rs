//! A bar for the person who waits; nothing where no terminal is.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar is drawn.
const DRAW_PERIOD: Duration = Duration::from_millis(200);

/// One bar for what is done at the moment.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    pool: String,
}

impl Progress {
    /// For the measurement of `pool`.
    pub fn new(pool: &str) -> Self {
        let bar = ProgressBar::no_length();
        // The template is a constant that the tests read.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Self { bar, pool: pool.to_owned() }
    }

    /// Something of `length` steps begins.
    pub fn begin(&self, what: &str, length: u64) {
        self.bar.enable_steady_tick(DRAW_PERIOD);
        self.bar.set_message(format!("{}: {what}", self.pool));
        self.bar.set_length(length);
        self.bar.set_position(0);
    }

    /// So many of the steps are done.
    pub fn at(&self, position: u64) {
        self.bar.set_position(position);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const TEMPLATE: &str = "{msg:32} {bar:40} {pos}/{len} {elapsed}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_of_the_bar_can_be_read() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
