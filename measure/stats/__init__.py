"""How sure: bootstrap intervals, trend tests, verdicts. numpy and scipy only; knows nothing of models.

All inference is over independent units (disjoint pairs). Chained pairs taken for independent give intervals that are
too narrow. Where units share their last tokens, `ends`, (units, 2), holds these, and intervals and tests are widened by
`shared_ends`; where they fall into `clusters`, whole clusters are resampled. Below 6 of either there is no interval and
no test.
"""

from __future__ import annotations

from measure.stats.intervals import (
    adjusted_difference,
    mean_interval,
    median_contrast,
    median_interval,
    median_rise,
    negated,
    of_medians,
    of_statistics,
    rank_correlation,
    rises_band,
    shifted,
    spearman,
    strata_of,
    stratified_contrast,
    superiority,
)
from measure.stats.resampling import RESAMPLES, median_influences
from measure.stats.trend_tests import adjusted, holm, page_trend, page_trends, signed_rank
from measure.stats.verdicts import CONFIDENCE, Band, Effect, Fact, Interval, Outcome, Trend, Verdict

__all__ = [
    "CONFIDENCE",
    "RESAMPLES",
    "Band",
    "Effect",
    "Fact",
    "Interval",
    "Outcome",
    "Trend",
    "Verdict",
    "adjusted",
    "adjusted_difference",
    "holm",
    "mean_interval",
    "median_contrast",
    "median_influences",
    "median_interval",
    "median_rise",
    "negated",
    "of_medians",
    "of_statistics",
    "page_trend",
    "page_trends",
    "rank_correlation",
    "rises_band",
    "shifted",
    "signed_rank",
    "spearman",
    "strata_of",
    "stratified_contrast",
    "superiority",
]
