//! The progress bar, on standard error.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tests::{scale::Net, scenario::Progress};

/// Without a terminal a line is written this often.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// Shows how far a run has come.
pub struct Bar {
    bar: ProgressBar,
    began: Instant,
    told: Instant,
}

impl Bar {
    /// At the beginning.
    #[allow(clippy::disallowed_methods)]
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} s  {msg}");
        let bar = ProgressBar::new(1);
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { bar, began: Instant::now(), told: Instant::now() }
    }
}

impl Progress for Bar {
    fn at(&mut self, now: Duration, end: Duration, phase: &str, net: &Net) {
        let (running, homed) = net.running_and_homed();
        let events = net.events();
        let rate = events as f64 / self.began.elapsed().as_secs_f64().max(1e-3) / 1e6;
        let message = format!(
            "{phase}: {} supernodes, {homed} of {running} at home, {rate:.2} M events/s, {:.1} GB",
            net.serving().len(),
            memory() / 1024.0,
        );
        if self.bar.is_hidden() {
            if self.told.elapsed() >= LINE_EVERY {
                eprintln!("{:.0}/{:.0} s  {message}", now.as_secs_f64(), end.as_secs_f64());
                self.told += self.told.elapsed();
            }
            return;
        }
        self.bar.set_length(end.as_secs());
        self.bar.set_position(now.as_secs());
        self.bar.set_message(message);
        if now >= end {
            self.bar.finish_and_clear();
        }
    }
}

/// Megabytes in use.
fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
