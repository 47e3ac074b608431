"""The stiff kinetics of Robertson keep the contract, and reach the published numbers."""

from __future__ import annotations

import numpy as np

from tests.systems.contract import SystemContract
from warp_phys.systems import Robertson, integrate


class TestRobertson(SystemContract):
    system = Robertson()
    stiff = True


def test_robertson_reaches_the_published_numbers() -> None:
    """At 40 s, and at 4e5 s as the example of CVODE prints it."""
    solution = integrate(
        Robertson(),
        [0.0, 40.0, 4e5],
        [[1.0, 0.0, 0.0]],
        [[0.04, 3e7, 1e4]],
        rtol=1e-9,
        atol=1e-14,
    )
    expected = [0.7158270687193941, 9.185534764557337e-6, 0.2841637457458413]
    np.testing.assert_allclose(solution.states[0, 1], expected, rtol=1e-8)
    expected = [4.938274521e-3, 1.984994088e-8, 0.9950617056]
    np.testing.assert_allclose(solution.states[0, 2], expected, rtol=1e-8)
