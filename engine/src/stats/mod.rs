//! Distributions, intervals and false discovery rate: small, in f64, from published formulas.
//!
//! Transcendental functions come from `libm`, so that written numbers do not depend on the system's C library.

mod fdr;
mod pearson;
mod student;

pub use fdr::benjamini_hochberg;
pub use pearson::{fisher_interval, ln_pearson_p};
pub use student::{ln_choose, ln_incomplete_beta, ln_student_two_sided, normal_quantile};
