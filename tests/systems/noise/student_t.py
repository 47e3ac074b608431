"""A noise model of a user's own, in one file: Student's t with known degrees of freedom."""

from __future__ import annotations

import torch
from scipy import stats
from torch import Tensor

from warp_phys.systems.noise.location_scale import LocationScale
from warp_phys.systems.noise.noise import Floats


class StudentT(LocationScale):
    """Errors of Student's t distribution, the level its scale.

    Args:
        freedom: Degrees of freedom.
    """

    name = "users_student_t"
    label = "Student-t"
    level_name = "scale"

    def __init__(self, freedom: float) -> None:
        self.freedom = freedom

    def rho(self, z: Tensor) -> Tensor:
        """Return (nu + 1) log(1 + z / nu)."""
        return (self.freedom + 1.0) * torch.log1p(z / self.freedom)

    def quantile(self, probability: Floats) -> Floats:
        """Return quantiles of the t distribution."""
        found: Floats = stats.t.ppf(probability, self.freedom)
        return found
