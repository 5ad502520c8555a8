//! How the demo is told: numbered steps, the commands as they would be typed, and what came of them.

use std::time::{Duration, Instant};

/// Widest line of the story.
const WIDTH: usize = 80;
const INDENT: &str = "   ";

/// The story so far.
pub(super) struct Story<'a> {
    say: &'a (dyn Fn(&str) + Sync),
    step: usize,
    title: String,
    begun: Instant,
}

impl<'a> Story<'a> {
    pub(super) fn new(say: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { say, step: 0, title: "the beginning".to_owned(), begun: Instant::now() }
    }

    /// A new step begins.
    pub(super) fn begin(&mut self, title: &str) {
        self.step += 1;
        self.title = title.to_owned();
        (self.say)(&format!("\n{}. {title}", self.step));
    }

    /// The step that is being told.
    pub(super) fn step(&self) -> String {
        format!("step {} ({})", self.step, self.title)
    }

    /// What the user would type.
    pub(super) fn command(&self, command: &str) {
        (self.say)(&format!("{INDENT}$ {command}"));
    }

    /// What came of it.
    pub(super) fn line(&self, text: &str) {
        for line in wrap(text, WIDTH - INDENT.len()) {
            (self.say)(&format!("{INDENT}{line}"));
        }
    }

    /// The end of a node's log.
    pub(super) fn log(&self, name: &str, tail: &[String]) {
        (self.say)(&format!("\n{INDENT}The last lines of {name}'s log:"));
        for line in tail {
            (self.say)(&format!("{INDENT}| {line}"));
        }
    }

    /// Since the story began.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// `0.02 s`, `1.43 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_story_is_numbered_and_fits_eighty_columns() {
        let told = Mutex::new(Vec::new());
        let say = |line: &str| told.lock().unwrap().push(line.to_owned());
        let mut story = Story::new(&say);
        story.begin("Alice makes a net");
        story.command("nearmesh --profile alice net create lab");
        story.line(&"word ".repeat(60));
        let told = told.lock().unwrap();
        assert_eq!(told[0], "\n1. Alice makes a net");
        assert!(told.len() > 4 && told.iter().all(|line| line.chars().count() <= WIDTH), "{told:#?}");
    }
}
