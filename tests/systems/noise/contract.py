"""What every noise model keeps to; a subclass says which model it is."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from warp_phys.likelihood.engines.noise_source import noise_source, terms_source
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.sample_terms import ABOVE, BELOW, LEVEL, SampleTerms

Floats = NDArray[np.float64]
CASES = [(2.0, 0.3), (0.7, 1.2), (5.0, 0.05)]
DRAWS = 20_000


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


class NoiseContract:
    """A subclass says the noise model; counts say what they are counted by."""

    noise: Noise
    counts: Floats | None = None
    own_tolerance = 1e-4
    own_step = 1e-6

    def grid(self, predicted: float, level: float) -> tuple[Floats, Floats]:
        """Return values (M,) and the weights with which a sum over them is an integral."""
        if self.counts is not None:
            return self.counts, np.ones_like(self.counts)
        # Far tails in few points: u = exp(pi/2 sinh x) to either side of the prediction.
        x = np.linspace(-4.0, 4.0, 4001)
        u = np.exp(0.5 * np.pi * np.sinh(x))
        step = 0.5 * np.pi * np.cosh(x) * u * (x[1] - x[0])
        error = np.concatenate([-u[::-1], u])
        weights = np.concatenate([step[::-1], step])
        if self.noise.relative:
            inside = np.abs(error * level) < 500.0
            values = predicted * np.exp(error[inside] * level)
            return values, weights[inside] * level * values
        return predicted + error * level, weights * level

    def density(self, predicted: float, level: float) -> tuple[Floats, Floats]:
        """Return values, and the probability in each."""
        values, weights = self.grid(predicted, level)
        y = torch.from_numpy(values)
        found = self.noise.log_density(y, torch.full_like(y, predicted), torch.full_like(y, level))
        return values, found.exp().numpy() * weights

    @pytest.mark.parametrize(("predicted", "level"), CASES)
    def test_the_density_integrates_to_one(self, predicted: float, level: float) -> None:
        _, probability = self.density(predicted, level)
        np.testing.assert_allclose(probability.sum(), 1.0, rtol=1e-6)

    @pytest.mark.parametrize(("predicted", "level"), CASES)
    def test_draws_have_this_density(self, predicted: float, level: float) -> None:
        uniform = np.random.default_rng(0).uniform(size=DRAWS)
        drawn = self.noise.draw(np.full(DRAWS, predicted), np.full(DRAWS, level), uniform)
        values, probability = self.density(predicted, level)
        assert not self.noise.impossible(drawn).any()
        if self.counts is not None:
            seen = np.array([(drawn == value).sum() for value in values])
            often = probability * DRAWS > 5.0
            observed = [*seen[often], seen[~often].sum()]
            expected = [*probability[often], 1.0 - probability[often].sum()]
            assert stats.chisquare(observed, np.array(expected) * DRAWS).pvalue > 1e-3
            return
        below = np.cumsum(probability) - 0.5 * probability
        cdf = lambda y: np.interp(y, values, below)  # noqa: E731
        assert stats.kstest(drawn, cdf).pvalue > 1e-3

    @pytest.mark.parametrize(("predicted", "level"), CASES)
    def test_terms_are_those_of_the_density(self, predicted: float, level: float) -> None:
        """Score and loss, by numerical differences of the log density."""
        uniform = np.linspace(0.02, 0.98, 25)
        y = torch.from_numpy(self.noise.draw(np.full(25, predicted), np.full(25, level), uniform))
        f, s = torch.full_like(y, predicted), torch.full_like(y, level)
        residual, stretch, loss, score, information = self.noise.terms(y, f, s**-2)
        at_zero = "the slope of the loss is not finite where a residual is zero"
        assert score.isfinite().all(), at_zero
        assert information.isfinite().all(), at_zero
        step = 1e-6 * predicted
        ahead, behind = (self.noise.log_density(y, f + h, s) for h in (step, -step))
        slope = (ahead - behind) / (2.0 * step)
        torch.testing.assert_close(score * stretch, slope, rtol=1e-5, atol=1e-5 / level)
        offset = self.noise.log_density(y, f, s) + 0.5 * loss
        moved = self.noise.log_density(y, f + step, s) + 0.5 * self.noise.loss(y, f + step, s)
        torch.testing.assert_close(offset, moved)
        torch.testing.assert_close(residual, self.noise.residual(y, f))
        assert (information >= 0.0).all()

    @pytest.mark.parametrize(("predicted", "level"), CASES)
    def test_information_is_the_mean_squared_score(self, predicted: float, level: float) -> None:
        values, probability = self.density(predicted, level)
        y = torch.from_numpy(values)
        f, s = torch.full_like(y, predicted), torch.full_like(y, level)
        _, stretch, _, score, _ = self.noise.terms(y, f, s**-2)
        square = (score * stretch).square().nan_to_num(0.0).numpy()
        expected = float(self.noise.information(number(predicted), number(level)))
        np.testing.assert_allclose((square * probability).sum(), expected, rtol=1e-5)

    def test_the_level_maximizes_the_likelihood(self) -> None:
        if self.noise.level_name is None or self.noise.level_is_joint:
            return
        rng = np.random.default_rng(1)
        f = torch.from_numpy(rng.uniform(1.0, 5.0, size=(1, 200, 1)))
        drawn = self.noise.draw(f.numpy(), np.full(f.shape, 0.2), rng.uniform(size=f.shape))
        y = torch.from_numpy(drawn)
        share = torch.ones(1, 1, dtype=torch.float64)
        level = self.noise.likely_level(y, f, share).unsqueeze(1)

        def likelihood(s: Tensor) -> float:
            return float(self.noise.log_density(y, f, s.expand_as(y)).sum())

        slope = (likelihood(level * 1.0001) - likelihood(level / 1.0001)) / 2e-4
        assert abs(slope) < 1e-3
        assert likelihood(level) > max(likelihood(1.1 * level), likelihood(level / 1.1))
        assert 0.7 < float(level) / 0.2 < 1.4

    @property
    def joint(self) -> SampleTerms:
        """The terms with the level and all own parameters unknown."""
        level = (LEVEL,) if self.noise.level_name is not None else ()
        return SampleTerms(self.noise, (*level, *(one.name for one in self.noise.own)))

    def own_values(self, level: Tensor) -> list[Tensor]:
        return [
            level if name == LEVEL else torch.full_like(level, float(getattr(self.noise, name)))
            for name in self.joint.names
        ]

    def log_density_at(self, y: Tensor, f: Tensor, values: Sequence[Tensor]) -> Tensor:
        given = dict(zip(self.joint.names, values, strict=True))
        level = given.pop(LEVEL, torch.ones_like(y))
        return self.noise.at(given).log_density(y, f, level)

    @pytest.mark.parametrize(("predicted", "level"), CASES)
    def test_scores_of_level_and_own_parameters(self, predicted: float, level: float) -> None:
        """By numerical differences of the log density."""
        if not self.joint.names or self.noise.loss_name != "linear":
            return
        uniform = np.linspace(0.02, 0.98, 25)
        y = torch.from_numpy(self.noise.draw(np.full(25, predicted), np.full(25, level), uniform))
        f, s = torch.full_like(y, predicted), torch.full_like(y, level)
        values, count = self.own_values(s), len(self.joint.names)
        found = self.joint(y, f, s**-2, *values)
        assert len(found) == self.joint.width
        for place in range(count):
            step = self.own_step * values[place]
            moved = [
                [*values[:place], values[place] + side * step, *values[place + 1 :]]
                for side in (1.0, -1.0)
            ]
            ahead, behind = (self.log_density_at(y, f, one) for one in moved)
            slope = (ahead - behind) / (2.0 * step)
            torch.testing.assert_close(found[5 + place], slope, rtol=1e-5, atol=1e-5)
        # The information of steps is never negative.
        matrix = torch.zeros(len(y), count, count, dtype=y.dtype)
        rows, columns = torch.tril_indices(count, count)
        matrix[:, rows, columns] = matrix[:, columns, rows] = torch.stack(
            found[5 + 2 * count :], dim=1
        )
        assert float(torch.linalg.eigvalsh(matrix).min()) > -1e-9 * float(matrix.abs().max())

    @pytest.mark.parametrize(("predicted", "level"), CASES)
    def test_information_about_own_parameters(self, predicted: float, level: float) -> None:
        """It is the mean product of the scores."""
        if not self.joint.names or self.noise.loss_name != "linear":
            return
        values, probability = self.density(predicted, level)
        y = torch.from_numpy(values)
        f, s = torch.full_like(y, predicted), torch.full_like(y, level)
        about = self.noise.own_information(y, f, s)
        found = self.joint(y, f, s**-2, *self.own_values(s))
        scores = dict(zip(self.joint.names, found[5:], strict=False))
        scores["f"] = found[3] * found[1]
        for (first, second), expected in about.items():
            product = (scores[first] * scores[second]).nan_to_num(0.0).numpy()
            mean = (product * probability).sum()
            tolerance = self.own_tolerance if first == second else 1e-4
            np.testing.assert_allclose(mean, float(expected.ravel()[0]), rtol=tolerance)

    @pytest.mark.parametrize(("predicted", "level"), CASES)
    def test_limits_have_the_probability_of_what_they_leave_out(
        self, predicted: float, level: float
    ) -> None:
        if not self.noise.knows_limits:
            return
        values, probability = self.density(predicted, level)
        below = np.cumsum(probability) - 0.5 * probability
        places = np.searchsorted(below, [0.1, 0.5, 0.9])
        y = torch.from_numpy(values[places])
        f, s = torch.full_like(y, predicted), torch.full_like(y, level)
        under, over = self.noise.log_below(y, f, s), self.noise.log_above(y, f, s)
        np.testing.assert_allclose(under.exp().numpy(), below[places], rtol=1e-5)
        np.testing.assert_allclose((under.exp() + over.exp()).numpy(), 1.0, rtol=1e-12)
        terms = SampleTerms(self.noise, censored=True)
        for flag, log in ((BELOW, self.noise.log_below), (ABOVE, self.noise.log_above)):
            found = terms(y, f, s**-2, torch.full_like(y, float(flag)))
            step = 1e-5 * predicted
            slope = (log(y, f + step, s) - log(y, f - step, s)) / (2.0 * step)
            torch.testing.assert_close(found[3] * found[1], slope, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(found[2], -2.0 * log(y, f, s))
            assert (found[4] >= 0.0).all()
        measured = terms(y, f, s**-2, torch.zeros_like(y))
        for one, other in zip(measured, self.noise.terms(y, f, s**-2), strict=True):
            torch.testing.assert_close(one, other)

    def test_it_becomes_compiled_code(self) -> None:
        assert "void noise_terms(V observed, V predicted, V precision, V* out)" in noise_source(
            self.noise
        )
        assert "case 0: noise_terms_0(observed, predicted" in terms_source([self.joint])
        if self.noise.knows_limits:
            terms_source([replace(self.joint, censored=True)])

    def test_it_is_the_same_from_its_settings_and_in_another_process(self) -> None:
        assert self.noise.name in repr(self.noise.key)
        assert pickle.loads(pickle.dumps(self.noise)).key == self.noise.key
        if self.noise.loss_name == "linear":
            assert type(self.noise)(**self.noise.settings).key == self.noise.key

    def test_missing_values_are_possible(self) -> None:
        missing = torch.tensor([torch.nan], dtype=torch.float64)
        assert not self.noise.impossible(missing).any()
        assert not self.noise.undefined(missing).any()
