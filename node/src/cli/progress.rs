//! How long work shows that it goes on: a bar on a terminal, a line now and then elsewhere, nothing with `--json`.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    output::Output,
    units::{rate, size},
};

/// How often a line is written where there is no terminal (guess: a log of an hour stays readable).
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Bytes done of bytes to do.
pub(super) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// In a log.
    Lines {
        /// When the last line was written.
        last: Instant,
    },
    /// For a program.
    Silent,
}

impl Progress {
    pub(super) fn new(out: Output) -> Self {
        if out.is_json() {
            return Self::Silent;
        }
        if !io::stderr().is_terminal() {
            return Self::Lines { last: Instant::now() };
        }
        let bar = ProgressBar::no_length();
        let template = "{bar:24} {binary_bytes:>10} of {binary_total_bytes:<10} {binary_bytes_per_sec:>12}  {eta:>4}  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self::Bar(bar)
    }

    /// It has come so far.
    pub(super) fn update(&mut self, done: u64, of: Option<u64>, what: &str, bytes_a_second: Option<u64>) {
        match self {
            Self::Bar(bar) => {
                if let Some(of) = of {
                    bar.set_length(of);
                }
                bar.set_position(done);
                bar.set_message(what.to_owned());
            }
            Self::Lines { last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let of = of.map_or_else(|| "?".to_owned(), size);
                let speed = bytes_a_second.map_or_else(String::new, |speed| format!(", {}", rate(speed)));
                let _ = writeln!(io::stderr(), "{what}: {} of {of}{speed}", size(done));
            }
            Self::Lines { .. } | Self::Silent => {}
        }
    }

    /// It is over; the bar goes.
    pub(super) fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
