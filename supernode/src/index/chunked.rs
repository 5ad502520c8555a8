//! A vector in pieces: it grows without ever holding two copies of itself.

/// Elements in a piece.
const CHUNK: usize = 1024;

/// A vector of which at most one piece moves when it grows.
#[derive(Debug, Default)]
pub(super) struct Chunked<T> {
    /// All full but the last.
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Chunked<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Appends, and says where.
    pub fn push(&mut self, value: T) -> u32 {
        match self.chunks.last_mut().filter(|last| last.len() < CHUNK) {
            Some(last) => last.push(value),
            None => self.chunks.push(vec![value]),
        }
        self.len += 1;
        (self.len - 1) as u32
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    pub fn memory(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum::<usize>() * size_of::<T>()
    }
}

impl<T> std::ops::Index<u32> for Chunked<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

impl<T> std::ops::IndexMut<u32> for Chunked<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}
