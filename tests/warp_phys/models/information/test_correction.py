"""Corrections of a normal approximation, carried on after a mark."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.models.information.correction import Correction

COUNT, SIZE = 6, 3


def positive(seed: int, count: int = COUNT) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(count, SIZE, SIZE + 1, dtype=torch.float64, generator=generator)
    return root @ root.mT


def given() -> tuple[Correction, Tensor, Tensor]:
    """Return corrections whose covariance is wider or narrower than the normal approximation."""
    covariance, wanted = positive(0), positive(1)
    shift = torch.ones(COUNT, SIZE, dtype=torch.float64)
    rows = torch.tensor([1, 2, 4])
    none = Correction.none(COUNT, SIZE)
    made = none.of(rows, covariance[rows], shift[rows], (wanted - covariance)[rows])
    return made, covariance, wanted


def test_at_the_mark_it_gives_the_moments_themselves() -> None:
    made, covariance, wanted = given()
    delta = torch.zeros(COUNT, SIZE, dtype=torch.float64)
    mean, found = made.applied(delta, covariance)
    assert made.active.tolist() == [False, True, True, False, True, False]
    corrected = made.active
    torch.testing.assert_close(found[corrected], wanted[corrected], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(mean[corrected], delta[corrected] + 1.0, rtol=1e-9, atol=1e-9)
    assert torch.equal(found[~corrected], covariance[~corrected])
    assert torch.equal(mean[~corrected], delta[~corrected])


def test_after_more_samples_it_is_positive_definite_and_fades() -> None:
    made, covariance, _ = given()
    delta = torch.zeros(COUNT, SIZE, dtype=torch.float64)
    information = torch.linalg.inv(covariance)
    for more in (1e-3, 1.0, 1e3, 1e6):
        later = torch.linalg.inv(information + more * positive(2))
        mean, found = made.applied(delta, later)
        scale = later.diagonal(dim1=1, dim2=2).rsqrt()
        scaled = found * scale.unsqueeze(1) * scale.unsqueeze(2)
        assert (torch.linalg.eigvalsh(scaled) > 0.0).all()
    assert ((scaled.diagonal(dim1=1, dim2=2) - 1.0).abs() < 1e-3).all()
    assert (mean.abs() < 1e-3).all()
