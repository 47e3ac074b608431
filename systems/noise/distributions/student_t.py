"""Student's t noise: outliers are likely."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter
from warp_phys.systems.noise.location_scale import Constants, LocationScale
from warp_phys.systems.noise.noise import Floats
from warp_phys.systems.noise.special import log_rising, trigamma


class StudentT(LocationScale):
    r"""Errors with Student's t distribution, whose tails make outliers likely.

    .. math::
        y = f + s e, \qquad e \sim t_\nu, \qquad \rho(z) = (\nu + 1) \log(1 + z / \nu)

    The level s is the scale, not the standard deviation, which is s sqrt(nu / (nu - 2)).

    Args:
        freedom: Degrees of freedom nu; 1 is the Cauchy distribution, large ones are normal. None
            for a fit that estimates them, which takes many values.

    References:
        K. L. Lange, R. J. A. Little, J. M. G. Taylor, JASA 84 (1989) 881-896,
        doi:10.1080/01621459.1989.10478852.

    Example:
        >>> import torch
        >>> zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        >>> round(float(StudentT(4.0).log_density(zero, zero, one).exp()), 12)
        0.375
    """

    name = "student_t"
    label = "Student-t"
    level_name = "scale"
    own = (Parameter("freedom", "1", support="positive", range=(2.0, 20.0)),)

    def __init__(self, freedom: float | None = 4.0) -> None:
        if freedom is not None and not freedom > 0.0:
            raise UsageError(f"expected positive degrees of freedom, got freedom={freedom!r}")
        self.freedom = freedom

    def rho(self, z: Tensor) -> Tensor:
        """Return (nu + 1) log(1 + z / nu)."""
        freedom = self.own_value("freedom", z)
        return (freedom + 1.0) * torch.log1p(z / freedom)

    def log_normalizer(self, freedom: Tensor) -> Tensor:
        """Return log C = log(Gamma(nu / 2) sqrt(nu pi) / Gamma((nu + 1) / 2))."""
        rising = log_rising(2.0 / freedom, torch.full_like(freedom, 0.5))
        return 0.5 * math.log(2.0 * math.pi) - rising

    def whole_loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return rho + 2 log s + 2 log C."""
        normalizer = self.log_normalizer(self.own_value("freedom", predicted))
        return super().whole_loss(observed, predicted, level) + 2.0 * normalizer

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """Return -rho / 2 - log s - log C."""
        return -0.5 * self.whole_loss(observed, predicted, level)

    def own_information(
        self, observed: Tensor, predicted: Tensor, level: Tensor
    ) -> dict[tuple[str, str], Tensor]:
        """Return the information about nu and s, Lange, Little and Taylor (1989), appendix B."""
        del observed
        nu = self.own_value("freedom", predicted)
        freedom = 0.25 * (trigamma(0.5 * nu) - trigamma(0.5 * (nu + 1.0)))
        freedom = freedom - 0.5 * (nu + 5.0) / (nu * (nu + 1.0) * (nu + 3.0))
        # It is 3 / (2 nu^4) for large nu, where the difference loses all digits.
        freedom = freedom.maximum((nu + 1.0).square().square().reciprocal())
        return {
            ("level", "level"): 2.0 * nu / ((nu + 3.0) * level.square()),
            ("freedom", "level"): -2.0 / ((nu + 1.0) * (nu + 3.0) * level),
            ("freedom", "freedom"): freedom,
        }

    @property
    def constants(self) -> Constants:
        """The constants in closed form."""
        nu = torch.as_tensor(self.freedom, dtype=torch.float64)
        # They are tensors where the degrees of freedom are.
        normalizer: Any = self.log_normalizer(nu)
        information: Any = (nu + 1.0) / (nu + 3.0)
        return Constants(normalizer, information)

    def quantile(self, probability: Floats) -> Floats:
        """Return quantiles of the t distribution."""
        if self.freedom is None:
            raise UsageError(
                "student_t noise is drawn with known degrees of freedom: "
                "distribution=StudentT(freedom=4.0)"
            )
        found: Floats = np.asarray(stats.t.ppf(probability, self.freedom), dtype=np.float64)
        return found
