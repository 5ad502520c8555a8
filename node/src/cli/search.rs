//! `nearmesh search`.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use nearmesh_common::wire::{
    file::Kind,
    query::{DEFAULT_RESULTS, MAX_RESULTS},
};
use tokio::time::{Instant, sleep_until};

use super::{
    Context, Quit,
    harmless::harmless,
    output::Output,
    table::{cut, pad},
    units::{parse_size, size},
};
use crate::control::{
    api::{ApiError, SearchEvent, SearchRequest, SearchResult, Searched},
    client::EventReader,
};

/// How long a result waits for its other sources before it is printed (guess: twice a round trip within a continent).
const HOLD: Duration = Duration::from_millis(150);
/// From this width on a line has room for the hash as well.
const WIDE: usize = 100;

/// Search the net for files.
#[derive(Debug, Args)]
#[command(after_help = "Example: nearmesh search julia fractal --kind audio --min-size 1MiB\n\n\
                        All words must match; the last one also matches longer words that begin with it. \
                        Then: nearmesh get NUMBER. In a pipe the lines are whole, with the hash.")]
pub(super) struct Search {
    /// Words of the name, or of an audio file's title, artist and album
    #[arg(required = true)]
    words: Vec<String>,
    /// How many results are enough
    #[arg(long, default_value_t = DEFAULT_RESULTS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RESULTS)))]
    limit: u32,
    /// At least so large: 500, 10MiB, 1.5GB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    min_size: Option<u64>,
    /// At most so large
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// Only this sort: audio, video, image, document, archive, other
    #[arg(long, value_parser = parse_kind)]
    kind: Option<Kind>,
}

impl Search {
    pub(super) async fn run(self, context: &Context) -> Result<(), Quit> {
        let words = self.words.join(" ");
        let request = SearchRequest {
            words: words.clone(),
            limit: self.limit,
            min_size: self.min_size,
            max_size: self.max_size,
            kind: self.kind,
        };
        let mut events = context.client().search(&request).await?;
        let mut results = Results::new(context.out);
        let searched = results.print_until_done(&mut events).await?;
        if results.printed == 0 {
            return Err(nothing(&words, &searched).into());
        }
        if searched.limit_reached {
            context
                .out
                .note(&format!("there may be more: --limit {MAX_RESULTS} shows more than {}", self.limit));
        }
        Ok(())
    }
}

/// Results in the order of their numbers, each printed once, with the sources that came within [`HOLD`].
struct Results {
    out: Output,
    width: Option<usize>,
    held: BTreeMap<u32, (Instant, SearchResult)>,
    /// All numbers up to this one are on the screen.
    printed: u32,
}

impl Results {
    fn new(out: Output) -> Self {
        Self { out, width: out.width(), held: BTreeMap::new(), printed: 0 }
    }

    async fn print_until_done(&mut self, events: &mut EventReader<SearchEvent>) -> Result<Searched, Quit> {
        loop {
            let due = self.held.first_key_value().map(|(_, (due, _))| *due);
            // Reading a line keeps its state in the reader, so that it may be left for the clock.
            let event = tokio::select! {
                event = events.next() => Some(event),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
            };
            match event {
                None => self.print(Instant::now())?,
                Some(Ok(SearchEvent::Result(result))) => self.hold(result),
                Some(Ok(SearchEvent::Done(searched))) => {
                    self.print_all()?;
                    return Ok(searched);
                }
                Some(Err(error)) => {
                    self.print_all()?;
                    return Err(error.into());
                }
            }
        }
    }

    fn hold(&mut self, result: SearchResult) {
        if result.number <= self.printed {
            return;
        }
        let due = self.held.get(&result.number).map_or_else(|| Instant::now() + HOLD, |(due, _)| *due);
        self.held.insert(result.number, (due, result));
    }

    fn print_all(&mut self) -> Result<(), Quit> {
        self.print(Instant::now() + HOLD)
    }

    fn print(&mut self, upto: Instant) -> Result<(), Quit> {
        while let Some(first) = self.held.first_entry() {
            if first.get().0 > upto {
                break;
            }
            let (_, result) = first.remove();
            self.printed = result.number;
            self.out.answer(&result, |result| line(result, self.width))?;
        }
        Ok(())
    }
}

fn line(result: &SearchResult, width: Option<usize>) -> String {
    let source = match result.sources.as_slice() {
        [] => "-".to_owned(),
        [one] => one.user.to_string(),
        [first, others @ ..] => format!("{} +{}", first.user, others.len()),
    };
    let hash = match width {
        None => format!("{}  ", result.hash),
        Some(WIDE..) => format!("{}  ", result.hash.0.short()),
        Some(_) => String::new(),
    };
    let source = cut(&source, width.map(|_| 18));
    let start = format!(
        "{:>3}  {:>10}  {}  {}  {hash}",
        result.number,
        size(result.size),
        pad(result.kind.as_str(), 8),
        pad(&source, 18)
    );
    let room = width.map(|width| width.saturating_sub(start.chars().count()).max(12));
    format!("{start}{}", cut(&harmless(&result.name), room))
}

fn nothing(words: &str, searched: &Searched) -> ApiError {
    let error = ApiError::not_found(format!("nobody in the net shares a file with the words: {words}"));
    match searched.asked - searched.answered.min(searched.asked) {
        0 => error.hint("all words must match: try fewer"),
        silent => error.hint(format!("{silent} of {} supernodes did not answer: try again", searched.asked)),
    }
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == text.to_ascii_lowercase());
    found.ok_or_else(|| format!("it is one of {}", Kind::ALL.map(Kind::as_str).join(", ")))
}

#[cfg(test)]
mod tests {
    use nearmesh_common::{ContentHash, NodeId};

    use super::*;
    use crate::control::api::Source;

    fn fractal(name: &str) -> SearchResult {
        let source = Source { user: "bob@lab".parse().unwrap(), node_id: NodeId([1; 32]).into() };
        SearchResult {
            number: 1,
            name: name.to_owned(),
            size: 4_400_000,
            hash: ContentHash([0x1b; 32]).into(),
            kind: Kind::Audio,
            sources: vec![source.clone(), source],
        }
    }

    #[test]
    fn a_result_fits_the_terminal_and_shows_what_it_is_and_who_has_it() {
        let line = line(&fractal(&format!("julia {}.ogg", "fractal ".repeat(30))), Some(80));
        assert!(line.chars().count() <= 80, "{line}");
        for part in ["1", "4.2 MiB", "audio", "bob@lab +1", "julia", ".ogg"] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }

    #[test]
    fn a_result_in_a_pipe_is_whole() {
        let line = line(&fractal("julia fractal.ogg"), None);
        assert!(line.contains(&ContentHash([0x1b; 32]).to_string()) && line.ends_with("julia fractal.ogg"));
    }

    #[test]
    fn a_name_from_the_network_cannot_act_on_the_terminal() {
        let line = line(&fractal("a\u{1b}]0;owned\u{7}\nrm.ogg"), Some(120));
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
