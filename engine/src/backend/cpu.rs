//! The CPU as a place: how many threads, and the fixed shapes that keep answers independent of them.

/// The CPU that a kernel runs on.
///
/// Kernels use the rayon pool that they are called in. Tiles are constants, never derived from the number of
/// threads or the caches found, because the order of additions, and so the last bits of a sum, follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    n_threads: usize,
}

impl Cpu {
    /// Columns of one tile of a product.
    pub const TILE_COLUMNS: usize = 256;
    /// Rows of one block of a product: the depth of one call of the GEMM.
    pub const BLOCK_ROWS: usize = 1024;

    /// Takes the rayon pool of the calling thread.
    #[must_use]
    pub fn new() -> Self {
        Self { n_threads: rayon::current_num_threads() }
    }

    /// Returns the number of threads that work at once.
    #[must_use]
    pub const fn n_threads(&self) -> usize {
        self.n_threads
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self::new()
    }
}
