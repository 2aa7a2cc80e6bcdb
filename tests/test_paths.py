from __future__ import annotations

import numpy as np
import torch

from measure.core import paths


def test_segment_holds_both_ends_and_the_straight_line_between() -> None:
    a, b = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    points = paths.segment(a, b, paths.alphas(5))
    assert points.shape == (3, 5, 5)
    assert torch.equal(points[:, 0], a)
    torch.testing.assert_close(points[:, -1], b)
    torch.testing.assert_close(points[:, 1], 0.75 * a + 0.25 * b)


def test_alphas_include_both_ends() -> None:
    np.testing.assert_array_equal(paths.alphas(3), [0, 0.5, 1])


def test_points_in_16_bits_are_rounded_once() -> None:
    """Worked out in float32: rounded at each step, one in three would be off by a last place."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(4, 64, generator=generator).to(torch.bfloat16) for _ in range(2))
    at = paths.alphas(50)
    exact = a.float()[:, None] + torch.as_tensor(at, dtype=torch.float32)[:, None] * (b.float() - a.float())[:, None]
    assert torch.equal(paths.segment(a, b, at), exact.to(torch.bfloat16))
