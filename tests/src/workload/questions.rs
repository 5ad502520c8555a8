//! What people ask for.

use rand::{Rng, RngExt};

use super::{FileId, Node, Workload, draw, names::Word, parameters};

/// What is asked for, and so who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// By words, a file with fewer than [`parameters::POPULAR`] copies.
    Rare(FileId),
    /// By words, a file with at least that many.
    Popular(FileId),
    /// Words that are in no name together.
    Nothing,
    /// By its hash, a file.
    Hash(FileId),
    /// The user of a node.
    User(Node),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What it is for.
    pub asked: Asked,
    /// Its words, all of which a name must have; none for a hash or a user.
    pub words: Vec<String>,
    /// The same words as numbers, as [`Workload::word_numbers`] has them: for those who ask often and never read.
    pub numbers: Vec<u32>,
}

impl Asked {
    /// The file that answers.
    pub fn file(self) -> Option<FileId> {
        match self {
            Self::Rare(file) | Self::Popular(file) | Self::Hash(file) => Some(file),
            Self::Nothing | Self::User(_) => None,
        }
    }
}

impl Question {
    fn without_words(asked: Asked) -> Self {
        Self { asked, words: Vec::new(), numbers: Vec::new() }
    }

    fn of_words(asked: Asked, words: Vec<Word>) -> Self {
        let numbers = words.iter().map(|word| word.0).collect();
        Self { asked, words: words.into_iter().map(Word::spelled).collect(), numbers }
    }
}

impl Workload {
    /// What somebody asks next.
    pub fn next_query(&self, rng: &mut impl Rng) -> Question {
        if rng.random_bool(parameters::FOR_USERS) {
            return self.user_question(rng);
        }
        if rng.random_bool(parameters::BY_HASH) {
            let file = self.wanted(rng);
            return Question::without_words(Asked::Hash(file));
        }
        if rng.random_bool(parameters::MATCH_NOTHING) {
            return self.vain_question(rng);
        }
        let file = self.wanted(rng);
        self.word_question(file, rng)
    }

    /// Asks for a user, any one.
    pub fn user_question(&self, rng: &mut impl Rng) -> Question {
        let node = Node(rng.random_range(0..self.nodes()));
        Question::without_words(Asked::User(node))
    }

    /// Asks for a file by some of its words, the title among them.
    pub fn word_question(&self, file: FileId, rng: &mut impl Rng) -> Question {
        let popular = self.holders_of(file).len() >= parameters::POPULAR;
        let asked = if popular { Asked::Popular(file) } else { Asked::Rare(file) };
        let mut words = self.names.common(file.0);
        let kept = rng.random_range(0..parameters::MOST_ASKED_WORDS) as usize;
        words.retain(|word| word.0 >= parameters::NOISE_WORDS || rng.random_bool(parameters::NOISE_ASKED));
        while words.len() > kept {
            words.swap_remove(rng.random_range(0..words.len()));
        }
        words.push(self.names.title(file.0));
        Question::of_words(asked, words)
    }

    /// Asks for words that match nothing: one of them is in no name, or each is, but no name has them all.
    pub fn vain_question(&self, rng: &mut impl Rng) -> Question {
        let [one, other] = [self.wanted(rng), self.wanted(rng)];
        let unknown = rng.random_bool(parameters::UNKNOWN_WORD) || one == other;
        let second = if unknown { self.names.unknown(rng.random()) } else { self.names.title(other.0) };
        let mut words = vec![second];
        let kept = rng.random_range(1..=parameters::MOST_ASKED_WORDS) as usize;
        if kept > 1 || !unknown {
            words.push(self.names.title(one.0));
        }
        let common = self.names.common(one.0).into_iter().filter(|word| word.0 >= parameters::NOISE_WORDS);
        words.extend(common.take(kept.saturating_sub(words.len())));
        Question::of_words(Asked::Nothing, words)
    }

    /// A file of which there is one copy.
    pub fn a_single_copy(&self, rng: &mut impl Rng) -> Option<FileId> {
        let count = self.single_copies().len();
        (count > 0).then(|| self.single_copies()[rng.random_range(0..count)])
    }

    /// A popular file, the more popular the likelier; none in a very small net.
    pub fn a_popular_file(&self, rng: &mut impl Rng) -> Option<FileId> {
        let most = self.popular().end;
        (most > 0).then(|| FileId(draw::zipf_rank(rng, most)))
    }

    /// Whether a name has all of these words.
    pub fn matches(&self, file: FileId, words: &[String]) -> bool {
        let name = self.words(file);
        words.iter().all(|word| name.contains(word))
    }

    /// A file that somebody wants. Its rank among what is wanted is only roughly its rank among what is held.
    fn wanted(&self, rng: &mut impl Rng) -> FileId {
        let rank = f64::from(draw::zipf_rank(rng, self.files()) + 1);
        let factor = parameters::TASTE.powf(rng.random_range(-1.0..1.0));
        let rank = (rank * factor) as u32;
        // Beyond the last rank everything is equally unknown.
        if rank < self.files() { FileId(rank) } else { FileId(rng.random_range(0..self.files())) }
    }
}
