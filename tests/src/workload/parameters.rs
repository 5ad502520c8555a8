//! Every number of the workload, with its source.
//!
//! Where a paper is named, the figure was read in it, in its abstract or in a text that quotes it; "guess" is our own
//! choice.

/// The part of all nodes that share nothing. Adar and Huberman 2000, "Free Riding on Gnutella": almost 70 %.
pub const FREE_RIDERS: f64 = 0.70;

/// Files that a sharing node shares, on average. Guess: a tenth of what was usual, so that the index of a million nodes
/// fits into the memory of one machine. All relations stay: free riders, heavy sharers, popularity, single copies.
pub const FILES_PER_SHARER: u32 = 10;

/// The exponent of the number of files of a sharing node, a Pareto distribution. Stutzbach, Zhao and Rejaie 2007: a power
/// law. The exponent is the one with which the top 1 % of all hosts hold half of the files, as Adar and Huberman 2000
/// have 50 % of all answers come from the top 1 %: `(0.01 / 0.30)^(1 - 1/a) = 1/2`.
pub const SHARING_EXPONENT: f64 = 1.255;

/// The most files of one node, as a multiple of the average. Guess: 10,000 files where a hundred are usual.
pub const MOST_FILES: u32 = 100;

/// The part of all copies that are the first of their file. Guess: it leaves about three quarters of all files in one
/// copy, and more than 98 % of all files on less than 0.1 % of the nodes (Acosta and Chandra 2008, "On the need for
/// query-centric unstructured peer-to-peer overlays").
pub const ORIGINALS: f64 = 0.5;

/// The exponent of what is wanted: Zipf's own, 1. What is *held* deviates from it, because nobody fetches a file twice
/// (Gummadi et al. 2003: "fetch-at-most-once"; Zipf-like in Stutzbach, Zhao and Rejaie 2007 and in Acosta and Chandra
/// 2008). The exponent is a guess.
pub const POPULARITY_EXPONENT: f64 = 1.0;

/// A sharer who has drawn so many files in a row that it has already stops fetching. Guess; met only in nets of a few
/// nodes.
pub const FETCH_TRIES: u32 = 50;

/// A file with so many copies is popular: a search for it fills its page of results. KaZaA's client showed 50
/// (giFT-FastTrack, PROTOCOL), as Nearmesh does.
pub const POPULAR: usize = 50;

/// Different common words in names. Guess: two per cent of the 2.1 million different words that Nguyen et al. saw in
/// 23 million questions (SIGIR 2007), rounded down to a power of two; the long tail is what title words are for.
pub const VOCABULARY: u32 = 32_768;

/// Common words in a name, least and most, beside its title word. Guess: artist, album, title, track.
pub const COMMON_WORDS: (u32, u32) = (5, 10);

/// The most words in a question, the least being 1, all equally likely where the name has as many: 3.5 on average. Nguyen
/// et al., SIGIR 2007: 3.57 in 23 million Gnutella queries.
pub const MOST_ASKED_WORDS: u32 = 7;

/// So many of the commonest words of names are hardly ever asked for ("the", "track", "live"). Guess; with it less than
/// 20 % of the popular words of questions and of names are the same, as Acosta and Chandra 2008 found.
pub const NOISE_WORDS: u32 = 100;

/// How often one of them is left in a question all the same. Guess.
pub const NOISE_ASKED: f64 = 0.1;

/// The part of all word questions that nothing matches, anywhere. Acosta and Chandra 2008, 230,000 queries against 20
/// million objects of 40,000 peers: 44.4 %.
pub const MATCH_NOTHING: f64 = 0.444;

/// The part of those in which a word exists nowhere; in the others every word exists, but never together. Guess.
pub const UNKNOWN_WORD: f64 = 0.5;

/// The part of all questions for files that are for an exact hash. Guess: clients look for further sources of what they
/// are fetching.
pub const BY_HASH: f64 = 0.10;

/// The part of all questions that look a user up. Guess.
pub const FOR_USERS: f64 = 0.10;

/// How far what is asked for is from what is held: a question's rank is the file's rank times a factor drawn
/// log-uniformly between one over this and this. Acosta and Chandra 2008: what is popular in queries is not what is
/// popular in file names. The form is a guess.
pub const TASTE: f64 = 30.0;

/// The part of all nodes behind a NAT. 32.8 % of KaZaA's peers in 2003 (Liang, Kumar and Ross: 21,269 of 64,834); over 70
/// % of hosts in a text of 2012 (SYNI).
pub const BEHIND_NAT: f64 = 0.70;

/// The part of peers of Gnutella that leave within four hours, and that stay for more than a day: Ripeanu, Foster and
/// Iamnitchi 2002.
pub const LEFT_WITHIN_4_HOURS: f64 = 0.40;

/// See there.
pub const STAYED_24_HOURS: f64 = 0.25;

/// The round trips between regions, in milliseconds: the public inter-region tables of the large clouds, rounded.
pub const ROUND_TRIPS: &str = "public inter-region tables of the large clouds, rounded";

/// The parameters as rows for a report: what, value, source.
pub fn rows() -> Vec<[String; 3]> {
    let percent = |part: f64| format!("{:.1} %", part * 100.0);
    let row = |what: &str, value: String, source: &str| [what.to_owned(), value, source.to_owned()];
    vec![
        row("nodes that share nothing", percent(FREE_RIDERS), "Adar and Huberman 2000"),
        row(
            "files of a sharing node",
            format!("{FILES_PER_SHARER} on average, Pareto with exponent {SHARING_EXPONENT}"),
            "power law: Stutzbach, Zhao and Rejaie 2007; exponent fitted to Adar and Huberman 2000 (top 1 % of hosts, half of the answers); the average is a guess, thinned for memory",
        ),
        row(
            "copies that are the first of their file",
            percent(ORIGINALS),
            "guess; gives 75 % of files in one copy",
        ),
        row(
            "what is wanted",
            format!("Zipf, exponent {POPULARITY_EXPONENT}, each file at most once"),
            "Gummadi et al. 2003; exponent: guess",
        ),
        row(
            "a popular file",
            format!("at least {POPULAR} copies"),
            "KaZaA's page of results (giFT-FastTrack)",
        ),
        row("word questions that nothing matches", percent(MATCH_NOTHING), "Acosta and Chandra 2008"),
        row(
            "words in a question",
            format!("1 to {MOST_ASKED_WORDS}, 3.5 on average"),
            "Nguyen et al., SIGIR 2007: 3.57",
        ),
        row(
            "words in a name",
            format!("{} to {}, Zipf over {VOCABULARY}, and a title word", COMMON_WORDS.0, COMMON_WORDS.1),
            "Zipf: Acosta and Chandra 2008; numbers: guess",
        ),
        row(
            "popularity of questions against that of files",
            format!("rank times or divided by up to {TASTE}"),
            "mismatch: Acosta and Chandra 2008; form: guess",
        ),
        row("questions for an exact hash", percent(BY_HASH), "guess"),
        row("questions for a user", percent(FOR_USERS), "guess"),
        row(
            "sessions",
            format!(
                "Lomax: {} gone within 4 h, {} still there after 24 h",
                percent(LEFT_WITHIN_4_HOURS),
                percent(STAYED_24_HOURS)
            ),
            "Ripeanu, Foster and Iamnitchi 2002; heavy tail: Bustamante and Qiao 2003",
        ),
        row(
            "nodes behind a NAT",
            percent(BEHIND_NAT),
            "33 % in 2003 (Liang, Kumar and Ross), over 70 % in 2012 (SYNI)",
        ),
        row("round trips between regions", "five regions".to_owned(), ROUND_TRIPS),
    ]
}
