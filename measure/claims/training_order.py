"""Along training: when it is settled which pairs are sharp, and when the sharpness is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from measure import claims, stats
from measure.results import Curves
from measure.spec import MeasureError
from measure.stats import Interval, shared_ends


def order_ahead(revisions: Sequence[Curves], of: claims.Of = claims.steepness) -> Interval:
    """By how much the order of pairs is ahead of their median, a mean over the revisions between first and last.

    At revision k the *order* has come (rho_k - rho_0) / (1 - rho_0) of its way, with rho_k Spearman's correlation over
    pairs of `of` there and at the end; the *shape* (m_k - m_0) / (m_K - m_0), with m_k the median over pairs. Both are
    0 at first and 1 at the end. Raises `MeasureError` for fewer than three revisions, and other prompts.
    """
    if len(revisions) < 3:
        raise MeasureError(f"what comes first takes a revision between first and last; found {len(revisions)} in all.")
    claims.check_paired(revisions)
    columns = [of(curves) for curves in revisions]
    return stats.of_statistics(columns, _statistics, _influences, _ahead, ends=revisions[0].unit_ends)


def shares(revisions: Sequence[Curves], of: claims.Of = claims.steepness) -> Float[np.ndarray, "two between"]:
    """How far order and shape have come at each revision between the first and the last."""
    table = np.stack([of(curves) for curves in revisions], axis=1)
    return np.stack(_ways(_statistics(table[None][:, np.isfinite(table).all(axis=1)])))[:, 0]


def _statistics(tables: Float[np.ndarray, "resamples units revisions"]) -> Float[np.ndarray, "resamples some"]:
    """Median of every revision, then each one's rank correlation with the last."""
    last = tables[..., -1]
    correlations = [stats.spearman(tables[..., k], last) for k in range(tables.shape[-1] - 1)]
    return np.concatenate([np.median(tables, axis=1), np.stack(correlations, axis=-1)], axis=-1)


def _influences(table: Float[np.ndarray, "units revisions"]) -> Float[np.ndarray, "units some"]:
    correlations = [shared_ends.of_rank_correlation(column, table[:, -1]) for column in table.T[:-1]]
    return np.concatenate([stats.median_influences(table), np.stack(correlations, axis=1)], axis=1)


def _ways(
    found: Float[np.ndarray, "resamples some"],
) -> tuple[Float[np.ndarray, "resamples between"], Float[np.ndarray, "resamples between"]]:
    count = (found.shape[-1] + 1) // 2
    medians, correlations = found[:, :count], found[:, count:]
    order = (correlations[:, 1:] - correlations[:, :1]) / (1 - correlations[:, :1])
    return order, (medians[:, 1:-1] - medians[:, :1]) / (medians[:, -1:] - medians[:, :1])


def _ahead(found: Float[np.ndarray, "resamples some"]) -> Float[np.ndarray, " resamples"]:
    order, shape = _ways(found)
    return np.asarray((order - shape).mean(axis=1))
