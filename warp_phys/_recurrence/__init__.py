"""The linear recurrence theta_t = A theta_{t-1} + B u_t: one door, many ways behind it."""

from warp_phys._recurrence._door import Mode, linear_recurrence, recurrence_step

__all__ = ["Mode", "linear_recurrence", "recurrence_step"]
