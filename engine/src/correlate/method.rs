//! The coefficients, and which of them a pair of columns gets.

use crate::columns::{Cells, TableColumn};

/// A coefficient of association.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Pearson's r of two columns of numbers.
    Pearson,
    /// Spearman's rho: Pearson's r of average ranks, taken among the rows that both columns have.
    Spearman,
    /// Kendall's tau-b.
    Kendall,
    /// Cramer's V of two columns of categories, bias-corrected (Bergsma 2013).
    CramersV,
    /// Theil's U(y | x): the share of y's entropy that x takes away. Directed.
    TheilsU,
    /// Eta squared: the share of the variance of numbers y that categories x account for.
    EtaSquared,
    /// Mutual information of two columns of categories, in nats.
    MutualInformation,
    /// Chatterjee's xi(x -> y): how far y is a function of x. Directed.
    Xi,
    /// Distance correlation (Szekely, Rizzo and Bakirov 2007).
    Distance,
}

/// Which coefficient pairs get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MethodChoice {
    /// By the types of the pair: Pearson, eta squared, Cramer's V.
    #[default]
    Auto,
    /// One for all; pairs of other types are left out.
    One(Method),
}

impl Method {
    /// Every coefficient.
    pub const ALL: [Self; 9] = [
        Self::Pearson,
        Self::Spearman,
        Self::Kendall,
        Self::CramersV,
        Self::TheilsU,
        Self::EtaSquared,
        Self::MutualInformation,
        Self::Xi,
        Self::Distance,
    ];

    /// Returns the word of specs and tables.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
            Self::Kendall => "kendall",
            Self::CramersV => "cramers_v",
            Self::TheilsU => "theils_u",
            Self::EtaSquared => "eta_squared",
            Self::MutualInformation => "mutual_information",
            Self::Xi => "xi",
            Self::Distance => "distance",
        }
    }

    /// Returns whether x and y play different parts, so that a pair has two rows.
    #[must_use]
    pub const fn is_directed(self) -> bool {
        matches!(self, Self::TheilsU | Self::Xi)
    }

    /// Returns whether the value has a sign.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(self, Self::Pearson | Self::Spearman | Self::Kendall)
    }

    /// Returns the size of a value on the scale of |r|, which `min_effect` is compared with: the root of a share of
    /// variance, and sqrt(1 - exp(-2 I)) for mutual information (Linfoot 1957). Negative xi is no effect.
    #[must_use]
    pub fn effect_size(self, value: f64) -> f64 {
        match self {
            Self::Pearson | Self::Spearman | Self::Kendall | Self::CramersV | Self::TheilsU | Self::Distance => value.abs(),
            Self::EtaSquared => libm::sqrt(value.max(0.0)),
            Self::MutualInformation => libm::sqrt(-libm::expm1(-2.0 * value.max(0.0))),
            Self::Xi => value.max(0.0),
        }
    }

    /// Returns whether columns of numbers, and whether columns of categories, can take part.
    #[must_use]
    pub const fn takes(self) -> (bool, bool) {
        match self {
            Self::Pearson | Self::Spearman | Self::Kendall | Self::Xi | Self::Distance => (true, false),
            Self::CramersV | Self::TheilsU | Self::MutualInformation => (false, true),
            Self::EtaSquared => (true, true),
        }
    }
}

impl MethodChoice {
    /// Returns whether columns of numbers, and whether columns of categories, can take part.
    #[must_use]
    pub const fn takes(self) -> (bool, bool) {
        match self {
            Self::Auto => (true, true),
            Self::One(method) => method.takes(),
        }
    }

    /// Returns the coefficient of a pair; none where it has none.
    #[must_use]
    pub(crate) fn of(self, a: &TableColumn, b: &TableColumn) -> Option<Method> {
        let numbers = |column: &TableColumn| matches!(column.cells, Cells::Numbers(_));
        match (self, numbers(a), numbers(b)) {
            (Self::Auto, true, true) => Some(Method::Pearson),
            (Self::Auto, false, false) => Some(Method::CramersV),
            (Self::Auto, ..) => Some(Method::EtaSquared),
            (Self::One(method), true, true) => matches!(method.takes(), (true, false)).then_some(method),
            (Self::One(method), false, false) => matches!(method.takes(), (false, true)).then_some(method),
            (Self::One(method), ..) => (method == Method::EtaSquared).then_some(method),
        }
    }
}
