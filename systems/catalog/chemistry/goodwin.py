"""The Goodwin oscillator: a gene that represses itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class Goodwin(System):
    r"""A gene that represses itself through its protein: the Goodwin oscillator.

    .. math::
        \dot x &= \frac{k_1}{1 + (z/K)^n} - d x \\
        \dot y &= k_2 x - d y \\
        \dot z &= k_3 y - d z

    States: concentrations of messenger x, protein y and repressor z. Parameters: rates of
    transcription :math:`k_1`, translation :math:`k_2` and repressor formation :math:`k_3`;
    degradation d, the same for all three; Hill exponent n of the repression; its threshold K (fixed
    at 1 nmol/L unless freed). Oscillations need n > 8 (Griffith); everywhere in the ranges, where
    :math:`k_1 k_2 k_3 \gg d^3 K`, the fixed point is unstable. The period is about
    :math:`2\pi/(\sqrt 3\, d)`, roughly a day.

    The right-hand side is affine in the rates if n and K are fixed. There is neither a closed
    form nor an invariant.

    References:
        B. C. Goodwin, Advances in Enzyme Regulation 3 (1965) 425-438,
        doi:10.1016/0065-2571(65)90067-1.
        J. S. Griffith, Journal of Theoretical Biology 20 (1968) 202-208,
        doi:10.1016/0022-5193(68)90189-6.

    Example:
        >>> Goodwin(hill=12.0).affine_form.names
        ('transcription', 'translation', 'formation', 'degradation')
    """

    time_unit = "h"
    states = (
        State("messenger", "nmol/L", "positive", description="messenger RNA"),
        State("protein", "nmol/L", "positive", description="protein"),
        State("repressor", "nmol/L", "positive", description="what represses the gene"),
    )
    parameters = (
        Parameter("transcription", "nmol/L/h", "positive", (0.4, 0.8), description="of the gene"),
        Parameter("translation", "1/h", "positive", (0.4, 0.8), description="protein / messenger"),
        Parameter("formation", "1/h", "positive", (0.4, 0.8), description="repressor / protein"),
        Parameter("degradation", "1/h", "positive", (0.12, 0.2), description="of all three"),
        Parameter("hill", "1", "positive", (11.0, 16.0), description="steepness of repression"),
        Parameter("threshold", "nmol/L", "positive", (0.5, 2.0), 1.0, "repressor of half effect"),
    )
    default_initial_state = {
        "messenger": (0.05, 0.5),
        "protein": (0.1, 1.0),
        "repressor": (0.5, 2.0),
    }
    default_times = tuple(float(hour) for hour in range(121))
    reference = "Goodwin 1965, doi:10.1016/0065-2571(65)90067-1"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rates of the three concentrations."""
        messenger, protein, repressor = y
        transcribed = p.transcription / (1.0 + (repressor / p.threshold) ** p.hill)
        return (
            transcribed - p.degradation * messenger,
            p.translation * messenger - p.degradation * protein,
            p.formation * protein - p.degradation * repressor,
        )
