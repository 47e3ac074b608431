"""Parameters that follow from others, against SciPy's least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import (
    CONVERGED,
    OSCILLATOR,
    by_scipy,
    fit,
    found,
    oscillations,
    residuals,
    same_bits,
)
from tests.warp_phys.fitting.test_mistakes import refuses
from warp_phys.systems import UnknownNameError, UsageError

TIES: list[tuple[Any, Any]] = [
    ("0.1 * natural_frequency", lambda w: 0.1 * w),
    ("sqrt(natural_frequency) / 2", lambda w: np.sqrt(w) / 2.0),
    (
        "exp(-natural_frequency / 20) + natural_frequency**2 / 200",
        lambda w: np.exp(-w / 20.0) + w**2 / 200.0,
    ),
    (lambda p: torch.tanh(p.natural_frequency / 10.0), lambda w: np.tanh(w / 10.0)),
]


class TestOneTie:
    @pytest.mark.parametrize(("tie", "function"), TIES)
    def test_is_the_problem_without_it(self, tie: Any, function: Any) -> None:
        data = oscillations(2)
        fitted = fit(OSCILLATOR, data, ties={"damping_rate": tie}, noise_sd="common")
        assert (fitted["status"] == CONVERGED).all()
        for row in range(2):
            residual = residuals(data.isel(trajectory=row))
            best = by_scipy(
                lambda q, one=residual: one([q[0], function(q[0]), *q[1:]]), [15.0, 1.0, 0.0]
            )
            rest = np.delete(found(fitted, row), 1)
            np.testing.assert_allclose(rest, best.x, rtol=1e-6)
            size, number = best.jac.shape
            variance = 2.0 * best.cost / (size - number)
            covariance = variance * np.linalg.inv(best.jac.T @ best.jac)
            one = fitted.isel(trajectory=row)
            error = float(one["standard_errors"][0])
            np.testing.assert_allclose(error, np.sqrt(covariance[0, 0]), rtol=1e-5)
            slope = np.imag(function(best.x[0] + 1e-20j)) / 1e-20
            np.testing.assert_allclose(one["standard_errors"][1], abs(slope) * error, rtol=1e-8)
            np.testing.assert_allclose(
                one["parameters"][1], function(float(one["parameters"][0])), rtol=1e-14
            )
        assert fitted["fixed"].values.tolist() == [0, 0]
        assert fitted["degrees_of_freedom"].values.tolist() == [59.0, 59.0]

    def test_a_function_is_its_expression(self) -> None:
        data = oscillations(2)
        first = fit(OSCILLATOR, data, ties={"damping_rate": "0.1 * natural_frequency"})
        tie = {"damping_rate": lambda p: 0.1 * p.natural_frequency}
        same_bits(fit(OSCILLATOR, data, ties=tie), first)

    def test_with_shared_parameters(self) -> None:
        data = oscillations(4)
        shared = {"natural_frequency": [0, 0, 1, 1]}
        ties = {"damping_rate": "0.1 * natural_frequency"}
        fitted = fit(OSCILLATOR, data, ties=ties, shared=shared, noise_sd="common")
        each = [residuals(data.isel(trajectory=row)) for row in (0, 1)]
        best = by_scipy(
            lambda q: np.concatenate(
                [each[0]([q[0], 0.1 * q[0], *q[1:3]]), each[1]([q[0], 0.1 * q[0], *q[3:]])]
            ),
            [15.0, 1.0, 0.0, 1.0, 0.0],
        )
        np.testing.assert_allclose(fitted["parameters"][:2, 0], best.x[0], rtol=1e-6)
        np.testing.assert_allclose(fitted["parameters"][:2, 1], 0.1 * best.x[0], rtol=1e-6)

    def test_with_values_known_in_a_trajectory(self) -> None:
        data = oscillations(2)
        share = np.array([0.1, np.nan])
        ties = {"damping_rate": "0.1 * natural_frequency"}
        known = fit(OSCILLATOR, data, ties=ties, fixed={"natural_frequency": share * 150.0})
        assert (known["status"] == CONVERGED).all()
        np.testing.assert_allclose(known["parameters"][0], [15.0, 1.5], rtol=1e-12)
        assert known["standard_errors"].values[0].tolist() == [0.0, 0.0]
        assert (known["standard_errors"].values[1] > 0.0).all()

    def test_profile_and_forecast(self) -> None:
        data = oscillations(2)
        ties = {"damping_rate": "0.1 * natural_frequency"}
        fitted = fit(OSCILLATOR, data, ties=ties)
        ahead = wp.forecast(fitted, [1.0, 1.5], draws=200, progress=False)
        assert (ahead["predicted_lower"] < ahead["predicted"]).all()
        assert (ahead["predicted_upper"] > ahead["predicted"]).all()
        by_function = fit(
            OSCILLATOR, data, ties={"damping_rate": lambda p: 2.0 + 0.0 * p.damping_rate}
        )
        with pytest.raises(UsageError, match="tied by a Python function"):
            wp.forecast(by_function, [1.0], progress=False)


class TestMistakes:
    @pytest.mark.parametrize(
        ("ties", "error", "message"),
        [
            ({"alfa": "beta"}, UnknownNameError, "unknown parameter of lotka_volterra 'alfa'"),
            ({"alpha": "2 * bta"}, UnknownNameError, "unknown name in ties['alpha'] = '2 * bta'"),
            ({"alpha": "2 *"}, UsageError, "ties['alpha'] = '2 *' is no expression"),
            ({"alpha": "alpha + 1"}, UsageError, "needs alpha, which is tied itself"),
            ({"alpha": "beta", "beta": "gamma"}, UsageError, "needs beta, which is tied itself"),
            ({"alpha": "beta.real"}, UsageError, "has 'beta.real', which is not arithmetic"),
            ({"alpha": "max(beta, gamma)"}, UnknownNameError, "unknown name in ties['alpha']"),
            ({"alpha": 2.0}, UsageError, "expected ties['alpha'] as an expression like"),
            (["alpha"], UsageError, "expected ties as a mapping from parameter to expression"),
        ],
    )
    def test_ties(self, ties: Any, error: Any, message: str) -> None:
        refuses(error, message, ties=ties)

    @pytest.mark.parametrize(
        ("options", "word"),
        [
            ({"fixed": {"alpha": 1.0}}, "fixed"),
            ({"bounds": {"alpha": (0.1, 1.0)}}, "bounded"),
            ({"shared": ["alpha"]}, "shared"),
        ],
    )
    def test_what_else_is_said(self, options: Any, word: str) -> None:
        message = f"parameter 'alpha' is tied and cannot be {word}; leave out one"
        refuses(UsageError, message, ties={"alpha": "beta"}, **options)

    def test_the_wrong_shape(self) -> None:
        message = "expected ties['alpha'] to return one value for each of"
        refuses(UsageError, message, ties={"alpha": lambda p: torch.ones(7)})
