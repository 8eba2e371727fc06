"""Writes what scipy, pandas, statsmodels and numpy say of small synthetic tables, for the tests to compare with.

    pip install statsmodels==0.15.0  # besides requirements.txt
    python associate_values.py ../../datasets/samples/expected/associations.json

Pairwise complete: a record is of the rows where every column it names is present, n of them, and ranks, levels and means
are those of these rows. Numbers are written with as many digits as give the same double back. What is undefined is null:

    - a coefficient that divides by zero: any of a constant column, but for what follows
    - distance correlation, which is 0 for a constant column by definition, and so is its bias-corrected square where a
      U-centred distance matrix is 0; the latter is null under 4 rows
    - Theil's U and eta squared are 0 where the known column is constant and the other one is not, mutual information
      where either is constant
    - xi of a constant x, which would measure the order of the rows
    - a p without degrees of freedom, or of a column without variance

Theil's U and eta squared: x is the known column and y the predicted one. xi: does x determine y.
"""

import argparse
import itertools
import json
import math
import pathlib
import platform
import warnings

import numpy as np
import pandas as pd
import scipy
import statsmodels
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.dist_dependence_measures import distance_correlation
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

SEED = 20240917
LEVEL = 0.95
EXACT_ROWS = 50
LAGS = range(-3, 4)
# Of a sum of squares, what rounding leaves where nothing is left by definition.
NOTHING = 1e-20

# Tables, and which of their columns are compared by pairs of numbers.
NUMBER_PAIRS = {
    "continuous": ("a", "b", "c", "d"),
    "ties": ("two", "five", "ten", "value"),
    "nulls": ("a", "b", "count"),
    "constants": ("flat", "late", "part", "normal"),
    "n2": ("x", "y"),
    "n3": ("x", "y", "z"),
    "binary": ("half", "tenth", "once", "value"),
    "monotone": ("x", "exp", "minus", "swapped", "square"),
    "small": ("x", "y"),
    "categories": ("size", "noise"),
    "weights": ("x", "y"),
}
CATEGORY_TABLES = ("categories", "identifiers")
WEIGHTED = (
    ("weights", "x", "y", "w"),
    ("weights", "x", "y", "equal"),
    ("weights", "x", "holes", "w"),
    ("weights", "x", "y", "w_holes"),
    ("weights", "x", "flat", "w"),
    ("weights", "x", "flat_where_weighted", "w"),
)
PARTIAL = (
    ("controls", "x", "y", ("z1", "z2")),
    ("controls", "x", "y", ("z1",)),
    ("controls", "x", "y", ("z2",)),
    ("controls", "x", "z1", ("z2",)),
    ("controls", "z1_scaled", "y", ("z1", "z2")),
    ("controls", "z1_scaled", "y", ("z2",)),
    ("controls_nulls", "x", "y", ("z1", "z2")),
    ("controls_nulls", "x", "y", ("z1",)),
    ("controls_nulls", "x", "z2", ("z1",)),
    ("constants", "flat", "part", ("normal",)),
    ("n3", "x", "y", ("z",)),
)
LAGGED = (
    ("series", "x", "y"),
    ("series", "x", "alternating"),
    ("series", "x", "x"),
    ("n3", "x", "y"),
)


# --- Tables


def numbers(values: np.ndarray) -> list:
    """Six decimals are plenty and read well."""
    return (np.round(values.astype("float64"), 6) + 0.0).tolist()


def holes(cells: list, rows) -> list:
    missing = {int(row) for row in rows}
    return [None if row in missing else cell for row, cell in enumerate(cells)]


def continuous(rng) -> dict:
    a, b, c, d = rng.standard_normal((4, 60))
    # d is far from zero: an r in one pass loses digits.
    return {"a": numbers(a), "b": numbers(0.6 * a + b), "c": numbers(c), "d": numbers(1e6 - 0.4 * a + 0.5 * c + d)}


def ties(rng) -> dict:
    five = rng.integers(0, 5, 80)
    ten = np.clip(five + rng.integers(0, 7, 80), 0, 10)
    return {
        "two": numbers((five + rng.integers(0, 3, 80)) // 3),
        "five": numbers(five),
        "ten": numbers(ten),
        "value": numbers(0.3 * ten + rng.standard_normal(80)),
    }


def nulls(rng) -> dict:
    a = rng.standard_normal(70)
    b = 0.5 * a + rng.standard_normal(70)
    count = rng.poisson(np.exp(0.4 * a + 0.8))
    shares = {"a": 0.1, "b": 0.2, "count": 0.3}
    missing = {name: rng.choice(70, round(70 * share), replace=False) for name, share in shares.items()}
    columns = {"a": numbers(a), "b": numbers(b), "count": numbers(count)}
    return {name: holes(cells, missing[name]) for name, cells in columns.items()}


def constants(rng) -> dict:
    late = np.full(40, 2.7)
    late[25:] = rng.standard_normal(15)
    # 0.1 and 2.7 are no doubles: their mean over some rows is another double.
    return {
        "flat": [0.1] * 40,
        "late": numbers(late),
        "part": holes(numbers(rng.standard_normal(40)), range(25, 40)),
        "normal": numbers(rng.standard_normal(40)),
    }


def rows_of(count: int, names: str):
    return lambda rng: {name: numbers(rng.standard_normal(count)) for name in names}


def binary(rng) -> dict:
    half, tenth, once = (rng.permutation(np.arange(60) < ones) for ones in (30, 6, 1))
    return {
        "half": numbers(half),
        "tenth": numbers(tenth),
        "once": numbers(once),
        "value": numbers(0.8 * half - tenth + rng.standard_normal(60)),
    }


def monotone(rng) -> dict:
    x = np.round(rng.standard_normal(40), 6)
    swapped = x.copy()
    low, next_low = np.argsort(x)[:2]
    swapped[[low, next_low]] = swapped[[next_low, low]]
    columns = {"x": x, "exp": np.exp(x), "minus": -x, "swapped": swapped, "square": x * x}
    return {name: numbers(values) for name, values in columns.items()}


def small(rng) -> dict:
    x = rng.standard_normal(12)
    return {"x": numbers(x), "y": numbers(0.7 * x + rng.standard_normal(12))}


def letters(codes: np.ndarray) -> list:
    return ["abcdefghijkl"[int(code)] for code in codes]


def categories(rng) -> dict:
    three = rng.choice(3, 120, p=[0.6, 0.3, 0.1])
    five = np.where(rng.random(120) < 0.5, three, rng.choice(5, 120, p=[0.25, 0.25, 0.2, 0.2, 0.1]))
    two = (five + rng.integers(0, 4, 120)) // 4
    twelve = rng.choice(11, 120, p=np.array([20, 16, 13, 11, 10, 9, 8, 6, 4, 2, 1]) / 100)
    # The twelfth level is never together with a cell of `five`, and `half` is a function of `twelve`.
    only = rng.choice(120, 2, replace=False)
    twelve[only] = 11
    size = np.array([0.0, 0.8, -0.7, 1.5, 2.5])[five] + rng.standard_normal(120)
    return {
        "two": holes(letters(two), rng.choice(120, 9, replace=False)),
        "three": letters(three),
        "five": holes(letters(five), [*rng.choice(120, 12, replace=False), *only]),
        "twelve": holes(letters(twelve), set(rng.choice(120, 15, replace=False)) - set(only)),
        "half": letters(twelve // 6),
        "size": holes(numbers(size), rng.choice(120, 14, replace=False)),
        "noise": numbers(rng.standard_normal(120)),
    }


def identifiers(rng) -> dict:
    """Levels as many as rows, one level, and a number that a category determines."""
    half = rng.permutation(np.arange(12) < 6)
    return {
        "id": letters(np.arange(12)),
        "one": ["a"] * 12,
        "half": letters(half),
        "third": letters(rng.permutation(np.arange(12) // 4)),
        "step": numbers(np.where(half, 1.5, -0.25)),
        "flat": [0.1] * 12,
        "value": numbers(rng.standard_normal(12)),
    }


def weights(rng) -> dict:
    x = rng.standard_normal(50)
    y = 0.5 * x + rng.standard_normal(50)
    w = np.where(rng.random(50) < 0.2, 0.0, rng.exponential(2.0, 50))
    return {
        "x": numbers(x),
        "y": numbers(y),
        "holes": holes(numbers(y - x), rng.choice(50, 8, replace=False)),
        "w": numbers(w),
        "equal": [1.0] * 50,
        "w_holes": holes(numbers(w), rng.choice(50, 6, replace=False)),
        "flat": [0.1] * 50,
        "flat_where_weighted": numbers(np.where(w > 0.0, 2.7, x)),
    }


def controls(rng) -> dict:
    z1, z2, x, y = rng.standard_normal((4, 90))
    x += 1.2 * z1 - 0.7 * z2
    y += 0.9 * z1 + 0.8 * z2 + 0.3 * x
    z1 = np.round(z1, 6)
    return {"x": numbers(x), "y": numbers(y), "z1": numbers(z1), "z2": numbers(z2), "z1_scaled": numbers(3.0 * z1 - 2.0)}


def controls_nulls(rng) -> dict:
    columns = controls(rng)
    del columns["z1_scaled"]
    return {name: holes(cells, rng.choice(90, 9, replace=False)) for name, cells in columns.items()}


def autoregression(shocks: np.ndarray, phi: float) -> np.ndarray:
    series = shocks.copy()
    for t in range(1, len(series)):
        series[t] += phi * series[t - 1]
    return series


def series(rng) -> dict:
    shocks = rng.standard_normal((3, 200))
    x = autoregression(shocks[0], 0.8)
    # y follows x by two rows.
    y = autoregression(shocks[1], 0.7) + 0.5 * np.concatenate([[0.0, 0.0], x[:-2]])
    return {"x": numbers(x), "y": numbers(y), "alternating": numbers(autoregression(shocks[2], -0.7))}


TABLES = {
    "continuous": continuous,
    "ties": ties,
    "nulls": nulls,
    "constants": constants,
    "n2": rows_of(2, "xy"),
    "n3": rows_of(3, "xyz"),
    "binary": binary,
    "monotone": monotone,
    "small": small,
    "categories": categories,
    "identifiers": identifiers,
    "weights": weights,
    "controls": controls,
    "controls_nulls": controls_nulls,
    "series": series,
}


def is_category(cells: list) -> bool:
    return any(isinstance(cell, str) for cell in cells)


def common(table: dict, *names: str) -> list[np.ndarray]:
    """Returns the columns over the rows where all of them are present."""
    rows = [row for row in zip(*(table[name] for name in names)) if None not in row]
    if not rows:
        return [np.array([])] * len(names)
    return [np.array(cells) for cells in zip(*rows)]


# --- Shared


def record(method: str, n: int, value, p, source: str, **extra) -> dict:
    return {"method": method, "n": n, "value": value, "p": p, **extra, "source": source}


def check(ours: float, theirs: float, what: str) -> None:
    if not math.isclose(ours, theirs, rel_tol=1e-11, abs_tol=1e-11):
        raise AssertionError(f"{what}: {ours!r} is not {theirs!r}")


def is_constant(values: np.ndarray) -> bool:
    return len(values) < 2 or bool(np.all(values == values[0]))


def has_ties(values: np.ndarray) -> bool:
    return len(np.unique(values)) < len(values)


def squares(values: np.ndarray) -> float:
    return float(np.sum((values - values.mean()) ** 2))


def r_p(r: float, df: float) -> float | None:
    """Returns the two-sided p of t."""
    if df <= 1e-9:
        return None
    if abs(r) >= 1.0:
        return 0.0
    t = r * math.sqrt(df / ((1.0 - r) * (1.0 + r)))
    return float(2.0 * stats.t.sf(abs(t), df))


# --- Two columns of numbers


def pearson(x: np.ndarray, y: np.ndarray) -> dict:
    n, source = len(x), "scipy.stats.pearsonr"
    if is_constant(x) or is_constant(y):
        return record("pearson", n, None, None, source, lo=None, hi=None)
    result = stats.pearsonr(x, y)
    check(pd.Series(x).corr(pd.Series(y)), result.statistic, "pandas r")
    p = float(result.pvalue) if n > 2 else None
    lo, hi = result.confidence_interval(LEVEL) if n > 3 else (None, None)
    return record("pearson", n, float(result.statistic), p, source, lo=lo, hi=hi)


def spearman(x: np.ndarray, y: np.ndarray) -> dict:
    n, source = len(x), "scipy.stats.spearmanr"
    if is_constant(x) or is_constant(y):
        return record("spearman", n, None, None, source)
    with np.errstate(all="ignore"):
        result = stats.spearmanr(x, y)
    check(pd.Series(x).corr(pd.Series(y), method="spearman"), result.statistic, "pandas rho")
    p = float(result.pvalue) if n > 2 else None
    return record("spearman", n, float(result.statistic), p, source)


def kendall(x: np.ndarray, y: np.ndarray) -> dict:
    """The variance of the normal approximation divides by n - 2."""
    n, source = len(x), "scipy.stats.kendalltau"
    if is_constant(x) or is_constant(y):
        return record("kendall", n, None, None, source, p_exact=None, p_auto=None)
    auto = stats.kendalltau(x, y)
    check(pd.Series(x).corr(pd.Series(y), method="kendall"), auto.statistic, "pandas tau")
    p = float(stats.kendalltau(x, y, method="asymptotic").pvalue) if n > 2 else None
    exact = n <= EXACT_ROWS and not has_ties(x) and not has_ties(y)
    p_exact = float(stats.kendalltau(x, y, method="exact").pvalue) if exact else None
    return record("kendall", n, float(auto.statistic), p, source, p_exact=p_exact, p_auto=float(auto.pvalue))


def xi(x: np.ndarray, y: np.ndarray) -> dict:
    """As scipy.stats.chatterjeexi, but rows of the same x stay in their order."""
    n, source = len(x), "numpy, after scipy.stats.chatterjeexi"
    if is_constant(x) or is_constant(y):
        return record("xi", n, None, None, source)
    y_sorted = y[np.argsort(x, kind="stable")]
    r = stats.rankdata(y_sorted, method="max")
    above = stats.rankdata(-y_sorted, method="max")
    value = 1.0 - n * np.sum(np.abs(np.diff(r))) / (2.0 * np.sum((n - above) * above))
    i = np.arange(1, n + 1)
    u = np.sort(r)
    v = np.cumsum(u)
    a = np.sum((2 * n - 2 * i + 1) * u**2) / n**4
    b = np.sum((v + (n - i) * u) ** 2) / n**5
    c = np.sum((2 * n - 2 * i + 1) * u) / n**3
    d = np.sum(above * (n - above)) / n**3
    variance = (a - 2.0 * b + c * c) / (d * d) / n
    p = stats.norm.sf(value / np.sqrt(variance))
    if not has_ties(x):
        theirs = stats.chatterjeexi(x, y, y_continuous=False)
        check(value, theirs.statistic, "scipy xi")
        check(p, theirs.pvalue, "scipy xi p")
        source = "scipy.stats.chatterjeexi"
    return record("xi", n, float(value), float(p), source)


def double_centred(distances: np.ndarray) -> np.ndarray:
    return distances - distances.mean(0) - distances.mean(1)[:, None] + distances.mean()


def u_centred(distances: np.ndarray) -> np.ndarray:
    """Returns zeros where rounding alone is left."""
    n = len(distances)
    sums = distances.sum(0)
    centred = distances - (sums + sums[:, None]) / (n - 2) + sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(centred, 0.0)
    return centred if np.sum(centred**2) > NOTHING * np.sum(distances**2) else np.zeros_like(distances)


def bias_corrected(a: np.ndarray, b: np.ndarray) -> tuple[float | None, float | None]:
    """Returns the squared correlation of U-centred distances and its p."""
    n = len(a)
    if n < 4:
        return None, None
    a, b = u_centred(a), u_centred(b)
    norms = math.sqrt(np.sum(a * a) * np.sum(b * b))
    if norms == 0.0:
        return 0.0, None
    value = float(np.sum(a * b) / norms)
    return value, float(stats.chi2.sf(n * value + 1.0, df=1))


def distance(x: np.ndarray, y: np.ndarray) -> dict:
    n, source = len(x), "numpy, Szekely et al. 2007"
    if n < 2:
        return record("distance", n, None, None, source, bias_corrected=None)
    if is_constant(x) or is_constant(y):
        return record("distance", n, 0.0, None, source, bias_corrected=0.0 if n > 3 else None)
    distances = [np.abs(np.subtract.outer(values, values)) for values in (x, y)]
    a, b = (double_centred(matrix) for matrix in distances)
    square = np.sum(a * b) / math.sqrt(np.sum(a * a) * np.sum(b * b))
    value = math.sqrt(max(square, 0.0))
    if n > 2:
        check(value, distance_correlation(x, y), "statsmodels distance correlation")
    corrected, p = bias_corrected(*distances)
    return record("distance", n, value, p, source, bias_corrected=corrected)


def number_records(table: dict, names: tuple) -> list[dict]:
    records = []
    for x, y in itertools.combinations(names, 2):
        columns = common(table, x, y)
        records += [{"x": x, "y": y} | method(*columns) for method in (pearson, spearman, kendall, distance)]
        records += [{"x": x, "y": y} | xi(*columns), {"x": y, "y": x} | xi(*columns[::-1])]
    return records


# --- Categories


def counts(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return pd.crosstab(x, y).to_numpy()


def g_test(observed: np.ndarray) -> float | None:
    if min(observed.shape) < 2:
        return None
    return float(stats.chi2_contingency(observed, correction=False, lambda_="log-likelihood").pvalue)


def cramers_v(x: np.ndarray, y: np.ndarray) -> dict:
    """The correction of Bergsma 2013; with as many levels as rows nothing is left to divide by."""
    n, source, observed = len(x), "scipy.stats.chi2_contingency, Bergsma 2013", counts(x, y)
    if min(observed.shape) < 2:
        return record("cramers_v", n, None, None, source, chi2=None, dof=None, uncorrected=None)
    test = stats.chi2_contingency(observed, correction=False)
    r, k = observed.shape
    square = max(0.0, test.statistic / n - (r - 1) * (k - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1.0
    value = None if n in (r, k) else math.sqrt(square / least)
    extra = {"chi2": float(test.statistic), "dof": int(test.dof)}
    uncorrected = float(stats.contingency.association(observed, method="cramer"))
    return record("cramers_v", n, value, float(test.pvalue), source, **extra, uncorrected=uncorrected)


def information(observed: np.ndarray) -> float:
    if min(observed.shape) < 2:
        return 0.0
    joint = stats.entropy(observed.ravel())
    return max(0.0, float(stats.entropy(observed.sum(0)) + stats.entropy(observed.sum(1)) - joint))


def theils_u(x: np.ndarray, y: np.ndarray) -> dict:
    observed, source = counts(x, y), "scipy.stats.entropy"
    whole = float(stats.entropy(observed.sum(0)))
    value = min(1.0, information(observed) / whole) if observed.shape[1] > 1 else None
    return record("theils_u", len(x), value, g_test(observed), source)


def mutual_information(x: np.ndarray, y: np.ndarray) -> dict:
    observed = counts(x, y)
    return record("mutual_information", len(x), information(observed), g_test(observed), "scipy.stats.entropy")


def eta_squared(x: np.ndarray, y: np.ndarray) -> dict:
    """F is infinite, and null here, where no group has variance."""
    n, source = len(x), "numpy, scipy.stats.f_oneway"
    if is_constant(y):
        return record("eta_squared", n, None, None, source, f=None)
    groups = [y[x == level] for level in np.unique(x)]
    between = sum(len(group) * (group.mean() - y.mean()) ** 2 for group in groups)
    value = 0.0 if len(groups) == 1 else min(1.0, float(between / squares(y)))
    if len(groups) in (1, n):
        return record("eta_squared", n, value, None, source, f=None)
    with warnings.catch_warnings(action="ignore"):
        test = stats.f_oneway(*groups)
    f = float(test.statistic) if np.isfinite(test.statistic) else None
    return record("eta_squared", n, value, float(test.pvalue), source, f=f)


def category_records(table: dict) -> list[dict]:
    records = []
    names = [name for name, cells in table.items() if is_category(cells)]
    for x, y in itertools.combinations(names, 2):
        columns = common(table, x, y)
        records += [{"x": x, "y": y} | method(*columns) for method in (cramers_v, mutual_information)]
        records += [{"x": x, "y": y} | theils_u(*columns), {"x": y, "y": x} | theils_u(*columns[::-1])]
    for x, y in itertools.product(names, [name for name in table if name not in names]):
        records.append({"x": x, "y": y} | eta_squared(*common(table, x, y)))
    return records


# --- More than two columns


def weighted(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> dict:
    n, source = len(x), "numpy.cov aweights"
    extra = {"n_positive": int(np.sum(w > 0.0)), "weight_sum": float(w.sum())}
    if is_constant(x[w > 0.0]) or is_constant(y[w > 0.0]):
        return record("weighted", n, None, None, source, **extra)
    # Both without a factor for the degrees of freedom, which cancels.
    covariance = np.cov(x, y, aweights=w, ddof=0)
    value = float(covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]))
    check(value, DescrStatsW(np.column_stack([x, y]), weights=w).corrcoef[0, 1], "statsmodels weighted r")
    return record("weighted", n, value, None, source, **extra)


def partial(x: np.ndarray, y: np.ndarray, *z: np.ndarray) -> dict:
    n, k, source = len(x), len(z), "statsmodels.api.OLS residuals"
    design = sm.add_constant(np.column_stack(z), has_constant="add")
    left = [sm.OLS(values, design).fit().resid for values in (x, y)]
    spent = any(np.sum(rest**2) <= NOTHING * squares(values) for rest, values in zip(left, (x, y)))
    if n < k + 2 or is_constant(x) or is_constant(y) or spent:
        return record("partial", n, None, None, source)
    value = float(left[0] @ left[1] / math.sqrt((left[0] @ left[0]) * (left[1] @ left[1])))
    value = min(1.0, max(-1.0, value))
    return record("partial", n, value, r_p(value, n - 2 - k), source)


def autocorrelation(values: np.ndarray, j: int) -> float:
    centred = values - values.mean()
    return float(np.sum(centred[: len(centred) - j] * centred[j:]) / np.sum(centred**2))


def effective_n(x: np.ndarray, y: np.ndarray) -> float:
    """Pyper and Peterman 1998. Series that alternate against each other have more to say than n rows, which is capped."""
    n = len(x)
    terms = [(n - j) / n * autocorrelation(x, j) * autocorrelation(y, j) for j in range(1, n // 5 + 1)]
    inverse = 1.0 / n + 2.0 / n * sum(terms)
    return float(n) if inverse <= 1.0 / n else max(1.0 / inverse, 2.0)


def lagged(x: np.ndarray, y: np.ndarray, lag: int) -> dict:
    """Of x at row t and y at row t + lag."""
    source = "scipy.stats.pearsonr, Pyper and Peterman 1998"
    overlap = max(len(x) - abs(lag), 0)
    x, y = x[max(-lag, 0) :][:overlap], y[max(lag, 0) :][:overlap]
    if is_constant(x) or is_constant(y):
        return record("lagged", overlap, None, None, source, lag=lag, effective_n=None)
    value = float(stats.pearsonr(x, y).statistic)
    n = effective_n(x, y)
    return record("lagged", overlap, value, r_p(value, n - 2.0), source, lag=lag, effective_n=n)


def further_records(tables: dict) -> list[dict]:
    records = []
    for name, x, y, w in WEIGHTED:
        columns = common(tables[name], x, y, w)
        records.append({"table": name, "x": x, "y": y, "weights": w} | weighted(*columns))
    for name, x, y, z in PARTIAL:
        columns = common(tables[name], x, y, *z)
        records.append({"table": name, "x": x, "y": y, "controls": list(z)} | partial(*columns))
    for (name, x, y), lag in itertools.product(LAGGED, LAGS):
        columns = [np.array(tables[name][column]) for column in (x, y)]
        records.append({"table": name, "x": x, "y": y} | lagged(*columns, lag))
    return records


# --- The document


def adjusted(rng) -> dict:
    """p-values of every size, some of them tied, in no order."""
    p = np.concatenate([rng.random(22), 10.0 ** -rng.uniform(2.0, 12.0, 8), [1e-300, 1e-20, 1.0, 1.0, 0.0]])
    p = np.concatenate([np.round(p[:22], 6), p[22:], [0.04, 0.04, 0.04, 0.003, 0.003]])
    p = rng.permutation(p)
    values = {name: multipletests(p, method=f"fdr_{name}")[1].tolist() for name in ("bh", "by")}
    return {"source": "statsmodels.stats.multitest.multipletests", "p": p.tolist()} | values


def associations(tables: dict) -> list[dict]:
    records = []
    for name in tables:
        found = number_records(tables[name], NUMBER_PAIRS.get(name, ()))
        found += category_records(tables[name]) if name in CATEGORY_TABLES else []
        records += [{"table": name} | one for one in found]
    return records + further_records(tables)


def verify(records: list[dict]) -> None:
    """Raises where a value is out of its range."""
    for one in records:
        least = 0.0 if one["method"] in ("cramers_v", "theils_u", "eta_squared", "distance", "mutual_information") else -1.0
        most = math.log(12.0) if one["method"] == "mutual_information" else 1.0
        value, ps = one["value"], [one.get(key) for key in ("p", "p_exact", "p_auto")]
        if value is not None and not least - 1e-12 <= value <= most + 1e-12:
            raise AssertionError(one)
        if any(p is not None and not 0.0 <= p <= 1.0 for p in ps):
            raise AssertionError(one)


def line(value) -> str:
    return json.dumps(value, allow_nan=False)


def text(document: dict) -> str:
    """Lays the document out one column or record a line."""
    tables = [
        f"    {line(name)}: {{\n" + ",\n".join(f"      {line(column)}: {line(cells)}" for column, cells in table.items()) + "\n    }"
        for name, table in document["tables"].items()
    ]
    header, adjustment = (
        "{\n" + ",\n".join(f"    {line(key)}: {line(value)}" for key, value in document[part].items()) + "\n  }"
        for part in ("header", "adjusted")
    )
    records = ",\n".join(f"    {line(one)}" for one in document["records"])
    parts = [
        '"header": ' + header,
        '"tables": {\n' + ",\n".join(tables) + "\n  }",
        '"records": [\n' + records + "\n  ]",
        '"adjusted": ' + adjustment,
    ]
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path)
    arguments = parser.parse_args()
    header = {
        "script": "benches/peers/associate_values.py",
        "numpy": np.__version__,
        "pandas": pd.__version__,
        "scipy": scipy.__version__,
        "statsmodels": statsmodels.__version__,
        "python": platform.python_version(),
        "seed": SEED,
    }
    # Each table has numbers of its own: another table does not change it.
    tables = {name: build(np.random.default_rng([SEED, *name.encode()])) for name, build in TABLES.items()}
    records = associations(tables)
    verify(records)
    adjustment = adjusted(np.random.default_rng([SEED, *b"adjusted"]))
    document = text({"header": header, "tables": tables, "records": records, "adjusted": adjustment})
    json.loads(document)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(document)


if __name__ == "__main__":
    main()
