"""The emitted normal distribution against torch's own."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from warp_phys.models.gaussian import Gaussian, state_size

SIZES = [1, 2, 5]


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def emitted(size: int, *batch: int) -> Gaussian:
    return Gaussian.from_state(random(*batch, state_size(size)), size)


def reference(gaussian: Gaussian) -> MultivariateNormal:
    """Return the same distribution from its precision C^T diag(1/d^2) C, entry by entry."""
    size = gaussian.mean.shape[-1]
    factor = torch.eye(size, dtype=torch.float64).repeat(*gaussian.mean.shape[:-1], 1, 1)
    number = 0
    for row in range(size):
        for column in range(row):
            factor[..., row, column] = gaussian.coupling[..., number]
            number += 1
    weight = torch.diag_embed((-2.0 * gaussian.log_scale).exp())
    return MultivariateNormal(gaussian.mean, precision_matrix=factor.mT @ weight @ factor)


@pytest.mark.parametrize("size", SIZES)
def test_log_density(size: int) -> None:
    gaussian, point = emitted(size, 3, 4), random(3, 4, size, seed=1)
    expected = reference(gaussian).log_prob(point)
    torch.testing.assert_close(gaussian.log_density(point), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_covariance_and_marginal_deviations(size: int) -> None:
    gaussian = emitted(size, 6)
    expected = reference(gaussian).covariance_matrix
    torch.testing.assert_close(gaussian.covariance(), expected, rtol=1e-8, atol=1e-10)
    deviation = expected.diagonal(dim1=-2, dim2=-1).sqrt()
    torch.testing.assert_close(gaussian.standard_deviation(), deviation, rtol=1e-8, atol=1e-10)


def test_draws_have_its_moments() -> None:
    gaussian = emitted(3, 2)
    draws = gaussian.sample(200_000, torch.Generator().manual_seed(0))
    assert draws.shape == (200_000, 2, 3)
    deviation = gaussian.standard_deviation()
    assert ((draws.mean(dim=0) - gaussian.mean).abs() < 0.02 * deviation).all()
    for place in range(2):
        measured = draws[:, place].T.cov() / deviation[place].outer(deviation[place])
        expected = gaussian.covariance()[place] / deviation[place].outer(deviation[place])
        torch.testing.assert_close(measured, expected, rtol=0.0, atol=0.02)


def test_draws_follow_the_generator() -> None:
    gaussian = emitted(2, 3)
    one, other = (gaussian.sample(4, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one, other)


def test_scales_stay_between_bounds_and_keep_a_density() -> None:
    state = torch.zeros(2, state_size(2), dtype=torch.float64)
    state[0, 2:4], state[1, 2:4] = -1e9, 1e9
    gaussian = Gaussian.from_state(state, 2)
    assert gaussian.log_density(torch.ones(2, 2).double()).isfinite().all()
    assert (gaussian.standard_deviation() > 0).all()


def test_a_tight_combination_of_loose_parts() -> None:
    """q_2 = q_1 to 1e-4 although neither is known better than 1."""
    state = torch.tensor([0.0, 0.0, 0.0, -9.0, -1.0], dtype=torch.float64)
    gaussian = Gaussian.from_state(state, 2)
    torch.testing.assert_close(gaussian.standard_deviation(), torch.ones(2).double())
    difference = torch.tensor([1.0, -1.0], dtype=torch.float64)
    variance = difference @ gaussian.covariance() @ difference
    assert variance.sqrt().item() == pytest.approx(torch.tensor(-9.0).exp().item())


def test_gradients() -> None:
    state = random(4, state_size(3)).requires_grad_()
    point = random(4, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda values: Gaussian.from_state(values, 3).log_density(point), (state,)
    )
