"""The penalty of a normal prior, against the density of torch and its derivatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from warp_phys.likelihood.damped_step import unpack
from warp_phys.minimizing.anchor import Anchor

SIZE, LANES = 3, 5


def given() -> tuple[Anchor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(SIZE + 2 * LANES, SIZE, dtype=torch.float64, generator=generator)
    root = draws[:SIZE] + 2.0 * torch.eye(SIZE)
    anchor = Anchor(draws[SIZE : SIZE + LANES], root @ root.T)
    return anchor, draws[-LANES:], torch.tensor([3, 0, 4])


def test_it_is_the_density_without_its_constant() -> None:
    anchor, z, lanes = given()
    z = z[lanes]
    normal = MultivariateNormal(anchor.center[lanes], precision_matrix=anchor.precision)
    at_center = normal.log_prob(anchor.center[lanes])
    expected = at_center - normal.log_prob(z)
    torch.testing.assert_close(anchor.penalty(z, lanes), expected, rtol=1e-12, atol=1e-12)


def test_its_terms_are_gradient_and_hessian() -> None:
    anchor, z, lanes = given()
    z = z[lanes].requires_grad_()
    (gradient,) = torch.autograd.grad(anchor.penalty(z, lanes).sum(), z)
    matrix = torch.ones(len(lanes), SIZE * (SIZE + 1) // 2, dtype=torch.float64)
    vector = torch.ones(len(lanes), SIZE, dtype=torch.float64)
    anchor.add(z.detach(), lanes, matrix, vector)
    torch.testing.assert_close(vector, 1.0 - gradient, rtol=1e-12, atol=1e-12)
    one = z.detach()[0]
    hessian = torch.autograd.functional.hessian(
        lambda y: anchor.penalty(y.unsqueeze(0), lanes[:1]).sum(), one
    )
    torch.testing.assert_close(unpack(matrix - 1.0, SIZE)[0], hessian, rtol=1e-12, atol=1e-12)
