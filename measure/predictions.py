"""What came out: curves with the next-token distributions along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from measure.results import Curves


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions(Curves, kind="predictions"):
    """Curves, and what the model predicts along them, in p_A's context.

    `separation` (pairs,): ||A - B||, residual stream at the patched layer; `same_last_token` (pairs,).
    `end_tokens` (pairs, 2): top token of the clean runs of p_A and p_B, as text.
    `top_tokens` (pairs, steps): id of the most probable next token at each point.
    `logit_difference` (pairs, steps): logit[top of p_A] - logit[top of p_B]; NaN where the two are one token.
    `end_divergence` (pairs,): Jensen-Shannon divergence, in bits, of the next-token distributions at alpha 0 and 1.
    `span_divergence` (pairs, steps - span): the same between each point and the one `span` steps on.
    """

    separation: Float[np.ndarray, " pairs"]
    same_last_token: Bool[np.ndarray, " pairs"]
    end_tokens: Shaped[np.ndarray, "pairs 2"]
    top_tokens: Int[np.ndarray, "pairs steps"]
    logit_difference: Float[np.ndarray, "pairs steps"]
    end_divergence: Float[np.ndarray, " pairs"]
    span_divergence: Float[np.ndarray, "pairs spans"]

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
    def span_movement(self) -> Float[np.ndarray, "pairs spans"]:
        """Change of r between each point and the one `span` steps on, (pairs, steps - span); NaN where degenerate."""
        return np.abs(self.relative[:, self.span :] - self.relative[:, : -self.span])

    @property
    def span_agreement(self) -> Float[np.ndarray, "pairs spans"]:
        """1.0 where a point and the one `span` steps on have the same top token, else 0.0; (pairs, steps - span)."""
        return (self.top_tokens[:, self.span :] == self.top_tokens[:, : -self.span]).astype(float)
