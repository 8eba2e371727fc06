//! Distributions, intervals and false discovery rate: small, in f64, from published formulas.
//!
//! Transcendental functions come from `libm`, so that written numbers do not depend on the system's C library.

mod fdr;
mod kendall;
mod pearson;
mod philox;
mod student;
mod tails;

pub use fdr::{benjamini_hochberg, harmonic};
pub(crate) use kendall::{KENDALL_EXACT_ROWS, ln_kendall_exact};
pub use pearson::{fisher_interval, ln_pearson_p};
pub(crate) use philox::{Purpose, Stream, WORDS};
pub use student::{ln_choose, ln_incomplete_beta, ln_student_two_sided, normal_quantile};
pub(crate) use tails::deviance;
pub use tails::{ln_chi_square_sf, ln_f_sf, ln_hypergeometric_two_sided, ln_normal_sf};
