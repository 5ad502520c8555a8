//! A vector in pieces: it grows without ever holding two copies of itself.

/// Elements in a piece.
const CHUNK: usize = 1024;

/// A vector whose elements never move.
#[derive(Debug, Default)]
pub(super) struct Chunked<T> {
    chunks: Vec<Box<[T]>>,
    len: usize,
}

impl<T: Clone + Default> Chunked<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Appends, and says where.
    pub fn push(&mut self, value: T) -> u32 {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(vec![T::default(); CHUNK].into_boxed_slice());
        }
        let at = self.len as u32;
        self.len += 1;
        self[at] = value;
        at
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().take(self.len)
    }

    pub fn memory(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>()
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
