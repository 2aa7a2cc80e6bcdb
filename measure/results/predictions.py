"""What came out: curves with the next-token distributions along them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from measure.results import METRICS, Curves, metrics

# In the place of a token that was not measured.
NO_TOKEN = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions(Curves, kind="predictions"):
    """Curves, and what the model predicts along them, in p_A's context.

    `separation` (pairs,): ||A - B||, residual stream at the patched layer; `last_tokens` (pairs, 2): ids of p_A, p_B.
    `end_tokens` (pairs, 2): top token of the clean runs of p_A and p_B, as text.
    `top_tokens` (pairs, steps): id of the most probable next token at each point.
    `logit_difference` (pairs, steps): logit[top of p_A] - logit[top of p_B]; NaN where the two are one token.
    `end_divergence` (pairs,): Jensen-Shannon divergence, in bits, of the next-token distributions at alpha 0 and 1.
    `span_divergence` (pairs, steps - span): the same between each point and the one `span` steps on.
    `null_top_tokens`, `null_logit_difference`, `null_span_divergence`: the same along the norm-only null; None where
    they were not measured, as in files of older versions.
    """

    kept_metrics: ClassVar[tuple[str, ...]] = (
        *METRICS,
        *(one.name for one in metrics.PREDICTIONS),
    )

    null_metrics: ClassVar[tuple[str, ...]] = (
        *METRICS,
        "flat_divergence",
        "straddling_divergence",
        "flat_agreement",
        "straddling_agreement",
        "logit_deviation",
        "logit_deviation_from_line",
        "logit_deviation_from_other",
    )

    separation: Float[np.ndarray, " pairs"]
    last_tokens: Int[np.ndarray, "pairs 2"]
    end_tokens: Shaped[np.ndarray, "pairs 2"]
    top_tokens: Int[np.ndarray, "pairs steps"]
    logit_difference: Float[np.ndarray, "pairs steps"]
    end_divergence: Float[np.ndarray, " pairs"]
    span_divergence: Float[np.ndarray, "pairs spans"]
    null_top_tokens: Int[np.ndarray, "pairs steps"] | None = None
    null_logit_difference: Float[np.ndarray, "pairs steps"] | None = None
    null_span_divergence: Float[np.ndarray, "pairs spans"] | None = None

    @cached_property
    def null(self) -> Predictions:
        """The norm-only null with what is predicted along it; see `Curves.null`. NaN where that was not measured."""
        top, difference, spans = self.null_top_tokens, self.null_logit_difference, self.null_span_divergence
        curves: Any = super().null
        found: Predictions = replace(
            curves,
            top_tokens=np.full(self.top_tokens.shape, NO_TOKEN) if top is None else top,
            logit_difference=np.full(self.logit_difference.shape, np.nan) if difference is None else difference,
            span_divergence=np.full(self.span_divergence.shape, np.nan) if spans is None else spans,
        )
        return found

    @property
    def same_last_token(self) -> Bool[np.ndarray, " pairs"]:
        """Pairs whose prompts end on one token, (pairs,)."""
        return self.last_tokens[:, 0] == self.last_tokens[:, 1]

    @property
    def span(self) -> int:
        """Steps between two compared points."""
        return len(self.alphas) - self.span_divergence.shape[1]

    @property
    def scaled_logit_difference(self) -> Float[np.ndarray, "pairs steps"]:
        """(l - l(0)) / (l(1) - l(0)), (pairs, steps): 0 at A, 1 at B (paper, Fig. 2c); NaN for equal top tokens.

        NaN too where l(1) - l(0) is within rounding of 0: B patched into p_A's context changes nothing of it.
        """
        low, high = self.logit_difference[:, :1], self.logit_difference[:, -1:]
        size = np.maximum(np.abs(low), np.abs(high))
        change = np.where(np.abs(high - low) > 1e-5 * size, high - low, np.nan)
        return (self.logit_difference - low) / change

    @property
    def logit_deviation(self) -> Float[np.ndarray, " pairs"]:
        """Mean of |scaled logit difference - r| over alpha, (pairs,)."""
        return np.abs(self.scaled_logit_difference - self.relative).mean(axis=1)

    @property
    def logit_deviation_from_line(self) -> Float[np.ndarray, " pairs"]:
        """Mean of |scaled logit difference - alpha| over alpha, (pairs,): what it would be if nothing jumped."""
        return np.abs(self.scaled_logit_difference - self.alphas).mean(axis=1)

    @property
    def logit_deviation_from_other(self) -> Float[np.ndarray, " pairs"]:
        """Mean of |scaled logit difference - r of the pair before| over alpha, (pairs,)."""
        return np.abs(self.scaled_logit_difference - np.roll(self.relative, 1, axis=0)).mean(axis=1)

    @property
    def logit_correlation(self) -> Float[np.ndarray, " pairs"]:
        """Correlation over alpha of the steps of the scaled logit difference with those of r, (pairs,).

        Of the steps, since any two rising curves correlate.
        """
        x, y = (np.diff(rows, axis=1) for rows in (self.scaled_logit_difference, self.relative))
        x, y = (rows - rows.mean(axis=1, keepdims=True) for rows in (x, y))
        size = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
        return (x * y).sum(axis=1) / np.where(size > 0, size, np.nan)

    @property
    def equal_tops(self) -> Bool[np.ndarray, " pairs"]:
        """Pairs whose two prompts have one top token, so that there is no logit difference, (pairs,)."""
        return np.isnan(self.logit_difference).all(axis=1)

    @property
    def span_movement(self) -> Float[np.ndarray, "pairs spans"]:
        """Change of r between each point and the one `span` steps on, (pairs, steps - span); NaN where degenerate."""
        return np.abs(self.relative[:, self.span :] - self.relative[:, : -self.span])

    @property
    def span_agreement(self) -> Float[np.ndarray, "pairs spans"]:
        """1.0 where a point and the one `span` steps on have the same top token, else 0.0; (pairs, steps - span)."""
        ahead, behind = self.top_tokens[:, self.span :], self.top_tokens[:, : -self.span]
        return np.where(ahead == NO_TOKEN, np.nan, (ahead == behind).astype(float))

    def _in_window(self, values: Float[np.ndarray, "pairs spans"], *, moving: bool) -> Float[np.ndarray, " pairs"]:
        """`values` where r moves most, or least, over a span; NaN where degenerate."""
        movement = np.where(self.degenerate[:, None], 0.0, self.span_movement)
        window = movement.argmax(axis=1) if moving else movement.argmin(axis=1)
        return np.where(self.degenerate, np.nan, values[np.arange(len(values)), window])

    @property
    def flat_divergence(self) -> Float[np.ndarray, " pairs"]:
        """Divergence, in bits, between the two points a span apart between which r moves least, (pairs,)."""
        return self._in_window(self.span_divergence, moving=False)

    @property
    def straddling_divergence(self) -> Float[np.ndarray, " pairs"]:
        """Divergence, in bits, between the two points a span apart between which r moves most, (pairs,)."""
        return self._in_window(self.span_divergence, moving=True)

    @property
    def flat_agreement(self) -> Float[np.ndarray, " pairs"]:
        """1.0 where those two points inside the flat part have one top token, else 0.0, (pairs,)."""
        return self._in_window(self.span_agreement, moving=False)

    @property
    def straddling_agreement(self) -> Float[np.ndarray, " pairs"]:
        """1.0 where those two points astride the transition have one top token, else 0.0, (pairs,)."""
        return self._in_window(self.span_agreement, moving=True)
