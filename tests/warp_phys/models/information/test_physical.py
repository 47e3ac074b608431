"""Bands in physical values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from warp_phys.models.information.physical import t_quantile


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_quantiles_of_students_distribution_are_interpolated_closely(level: float) -> None:
    freedom = torch.tensor([[0.6, 1.0, 1.37], [4.2, 33.0, 1e6]], dtype=torch.float64)
    expected = stats.t.ppf(0.5 + 0.5 * level, freedom.numpy())
    np.testing.assert_allclose(t_quantile(freedom, level), expected, rtol=1e-3)
    # Fewer degrees of freedom than a half have no use, and none of its moments.
    assert t_quantile(torch.tensor([0.01]), level) == t_quantile(torch.tensor([0.5]), level)


def test_without_an_unknown_level_they_are_normal() -> None:
    found = float(t_quantile(torch.tensor([torch.inf]), 0.9))
    assert abs(found - 1.6448536269514722) < 1e-12
