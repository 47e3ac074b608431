"""The linear recurrence theta_t = A theta_{t-1} + B u_t: one door, many ways behind it."""

from warp_phys._recurrence._autoregression import autoregressive_recurrence
from warp_phys._recurrence._door import Mode, linear_recurrence, recurrence_step

__all__ = ["Mode", "autoregressive_recurrence", "linear_recurrence", "recurrence_step"]
