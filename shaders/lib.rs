//! The table of WGSL compute shaders.
//!
//! A shader is one entry point in one file of the same name, preceded by the common files that it uses. Its variants
//! differ in text constants: sizes of register tiles cannot be `override` constants, because arrays and unrolled code
//! local to a function depend on them.
//!
//! The crate knows neither a device nor a parser. `tests/valid.rs` parses and validates every variant and writes it as
//! SPIR-V; `engine/tests/contract.rs` compares bindings and parameters with the Rust side.

#![forbid(unsafe_code)]

const INDEX: &str = include_str!("common/index.wgsl");
const HASH: &str = include_str!("common/hash.wgsl");
const GRAM_TILE: &str = include_str!("common/gram_tile.wgsl");
const PHILOX: &str = include_str!("common/philox.wgsl");

/// One compute shader.
#[derive(Debug, PartialEq, Eq)]
pub struct Shader {
    /// Name of the entry point and stem of the file.
    pub name: &'static str,
    /// Path of the file in this crate.
    pub path: &'static str,
    /// The texts that make the shader, common files first.
    parts: &'static [&'static str],
    /// Every set of text constants that it may be built with; the first is the default.
    pub variants: &'static [Variant],
}

/// One set of text constants.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Name that tells it from the shader's other variants; empty where there is one only.
    pub name: &'static str,
    /// Names and values, written as `const NAME: u32 = VALUEu;` ahead of the text.
    pub constants: &'static [(&'static str, u32)],
}

impl Variant {
    /// Returns the value of a constant of this variant.
    #[must_use]
    pub fn constant(&self, name: &str) -> Option<u32> {
        self.constants.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

impl Shader {
    /// Returns the WGSL text of a variant.
    #[must_use]
    pub fn source(&self, variant: &Variant) -> String {
        let constants = variant.constants.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n"));
        constants.chain(self.parts.iter().map(|part| format!("{part}\n"))).collect()
    }
}

/// Sides of a tile of products: small ones fill a device with little work, wide ones do more work a load.
const TILES: &[Variant] =
    &[Variant { name: "tile_64", constants: &[("TILE", 64)] }, Variant { name: "tile_128", constants: &[("TILE", 128)] }];

const PLAIN: &[Variant] = &[Variant { name: "", constants: &[] }];

/// Products of every column of one matrix with every column of another.
pub static GRAM: Shader =
    Shader { name: "gram", path: "correlate/gram.wgsl", parts: &[INDEX, GRAM_TILE, include_str!("correlate/gram.wgsl")], variants: TILES };

/// A copy of every column for every turn, shifted in a circle where time is kept.
pub static ARRANGE: Shader = Shader {
    name: "arrange",
    path: "correlate/arrange.wgsl",
    parts: &[INDEX, PHILOX, include_str!("correlate/arrange.wgsl")],
    variants: PLAIN,
};

/// New orders of rows or entities within strata, of every column of every turn.
pub static SHUFFLE: Shader = Shader {
    name: "shuffle",
    path: "correlate/shuffle.wgsl",
    parts: &[INDEX, PHILOX, include_str!("correlate/shuffle.wgsl")],
    variants: PLAIN,
};

/// The largest product of every column with the columns of a tile, turn by turn.
pub static PERMUTED_GRAM: Shader = Shader {
    name: "permuted_gram",
    path: "correlate/permuted_gram.wgsl",
    parts: &[INDEX, GRAM_TILE, include_str!("correlate/permuted_gram.wgsl")],
    variants: TILES,
};

/// Bits of pairs of rows, of every column: which cell is larger, and whether the two differ.
pub static ROW_PAIRS: Shader = Shader {
    name: "row_pairs",
    path: "correlate/row_pairs.wgsl",
    parts: &[INDEX, include_str!("correlate/row_pairs.wgsl")],
    variants: PLAIN,
};

/// In how many pairs of rows two columns disagree, and in how many neither ties.
pub static KENDALL: Shader =
    Shader { name: "kendall", path: "correlate/kendall.wgsl", parts: &[INDEX, include_str!("correlate/kendall.wgsl")], variants: PLAIN };

/// The best centre of every point.
pub static ASSIGN: Shader = Shader {
    name: "assign",
    path: "cluster/assign.wgsl",
    parts: &[INDEX, GRAM_TILE, include_str!("cluster/assign.wgsl")],
    variants: &[Variant { name: "tile_64", constants: &[("TILE", 64)] }],
};

/// The keys of the bands of every text's `MinHash` signature.
pub static SIGNATURES: Shader = Shader {
    name: "signatures",
    path: "dedupe/signatures.wgsl",
    parts: &[INDEX, HASH, include_str!("dedupe/signatures.wgsl")],
    variants: &[
        Variant { name: "slots_128", constants: &[("SLOTS_A_LANE", 1)] },
        Variant { name: "slots_256", constants: &[("SLOTS_A_LANE", 2)] },
    ],
};

/// Counts loop trips, to tell drivers that end loops early.
pub static LOOP_COUNT: Shader =
    Shader { name: "loop_count", path: "selftest/loop_count.wgsl", parts: &[include_str!("selftest/loop_count.wgsl")], variants: PLAIN };

/// Mixes integers, to tell devices that compute wrong bits.
pub static HASHES: Shader =
    Shader { name: "hash", path: "selftest/hash.wgsl", parts: &[INDEX, HASH, include_str!("selftest/hash.wgsl")], variants: PLAIN };

/// Every shader.
pub static SHADERS: &[&Shader] =
    &[&GRAM, &ARRANGE, &SHUFFLE, &PERMUTED_GRAM, &ROW_PAIRS, &KENDALL, &ASSIGN, &SIGNATURES, &LOOP_COUNT, &HASHES];
