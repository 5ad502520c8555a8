//! How large messages are: payloads, as the specifications have them.

use crate::workload::{FileId, Question, Workload};

/// A user's name in results, in bytes (guess; the workload's are `user` and up to seven digits).
pub const USER: u64 = 11;
/// Letters of a word, and a space.
const WORD: u64 = 9;
/// A name for which nobody looks closer: the words of an average name, and the extension.
pub const NAME: u64 = 9 * WORD + 4;

/// The text of a question, in bytes.
pub fn text(question: &Question) -> u64 {
    question.words.iter().map(|word| word.len() as u64 + 1).sum::<u64>().saturating_sub(1)
}

/// The name of a file, in bytes.
pub fn name(workload: &Workload, file: FileId) -> u64 {
    workload.word_numbers(file).len() as u64 * WORD + 3
}

/// Napster: every message has a length and a type of two bytes each, then text (drscholl, "napster messages", 2000).
pub mod napster {
    use super::USER;

    const HEADER: u64 = 4;

    /// 200: `FILENAME CONTAINS "words" MAX_RESULTS 100`.
    pub fn search(text: u64) -> u64 {
        HEADER + text + 36
    }

    /// 201: `"name" md5 size bitrate frequency length nick ip link-type`; an MD5 has 32 digits, the other numbers 27 with their spaces, an address 10.
    pub fn result(name: u64) -> u64 {
        HEADER + name + 3 + 33 + 27 + USER + 1 + 10 + 2
    }

    /// 202: no data.
    pub const END: u64 = HEADER;

    /// 603 and 604, the question who somebody is and the answer (about 60 bytes of text).
    pub const WHO_IS: [u64; 2] = [HEADER + USER, HEADER + USER + 60];

    /// What a server keeps of a file: message 100's text (name, MD5, size, bitrate, frequency, time), and whose it is.
    pub fn entry(name: u64) -> u64 {
        name + 3 + 33 + 27 + 4
    }
}

/// Gnutella: a header of 23 bytes (id 16, type, TTL, hops, length 4), then the payload ("Annotated Gnutella Protocol Specification v0.4").
pub mod gnutella {
    const HEADER: u64 = 23;

    /// Query: minimum speed 2, the text, a zero.
    pub fn query(text: u64) -> u64 {
        HEADER + 2 + text + 1
    }

    /// QueryHits with one result: count 1, port 2, address 4, speed 4; index 4, size 4, the name and two zeros; the servent's id 16.
    pub fn hit(name: u64) -> u64 {
        HEADER + 11 + 8 + name + 2 + 16
    }

    /// Out-of-band: the notice that there are results, and the request for them; each a vendor message with 8 bytes of kind and 1 of count.
    pub const OUT_OF_BAND: u64 = HEADER + 8 + 1;

    /// What a node keeps of a file of its own: index, size, name.
    pub fn entry(name: u64) -> u64 {
        8 + name
    }
}

/// FastTrack: a packet begins with 5 bytes (giFT-FastTrack, PROTOCOL).
pub mod kazaa {
    use super::USER;

    const HEADER: u64 = 5;
    /// Comparison, tag and length of a search term.
    const TERM: u64 = 3;
    /// The network's name in a result, with its separators.
    const NETWORK: u64 = 7;

    /// 0x06: results wanted, id, realm and so on, 9 bytes; one term.
    pub fn search(text: u64) -> u64 {
        HEADER + 9 + TERM + text
    }

    /// 0x0A, between supernodes: 9 bytes and the term, with the 13 bytes of the flag that sends it on to one node.
    pub fn forward(text: u64) -> u64 {
        HEADER + 13 + 9 + TERM + text
    }

    /// 0x07 with one result: supernode's address 6, id 2, count 2; address 6, bandwidth 1, user and network, hash 20, id 4, size 4, one tag with the name.
    pub fn reply(name: u64) -> u64 {
        HEADER + 10 + result(name)
    }

    /// One further result in it.
    pub fn result(name: u64) -> u64 {
        7 + USER + NETWORK + 20 + 4 + 4 + 1 + TERM + name
    }

    /// 0x08: the id.
    pub const END: u64 = HEADER + 2;

    /// 0x22, what a supernode keeps of a file: kind 4, hash 20, id 4, size 4, one tag with the name; and whose it is.
    pub fn entry(name: u64) -> u64 {
        4 + 20 + 4 + 4 + 1 + TERM + name + 4
    }
}

/// Chord: the paper fixes no encoding. Ids have 160 bits (Stoica et al. 2001); a node is an id, an address and a port; the rest is a guess.
pub mod chord {
    use super::USER;

    /// A node: id 20, address 4, port 2.
    pub const NODE: u64 = 26;
    /// Type and number of a call.
    const HEADER: u64 = 8;

    /// Who is nearest to this key?
    pub const FIND: u64 = HEADER + 20;
    /// That one is.
    pub const FOUND: u64 = HEADER + NODE;

    /// What have you under this key, that has all these words too?
    pub fn get(text: u64) -> u64 {
        HEADER + 20 + text
    }

    /// So many entries.
    pub fn got(entries: u64, name: u64) -> u64 {
        HEADER + entries * entry(name)
    }

    /// An entry under a word: the file's name, hash 20, size 8, and who has it.
    pub fn entry(name: u64) -> u64 {
        name + 20 + 8 + NODE + USER
    }

    /// An entry under a user.
    pub const USER_ENTRY: u64 = USER + NODE;
}
