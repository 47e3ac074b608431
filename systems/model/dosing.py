"""Dosing: what becomes of the doses of a state, by parameters of the system."""

from __future__ import annotations

from dataclasses import dataclass

from warp_phys.systems.errors import UsageError


@dataclass(frozen=True)
class Dosing:
    r"""Lag time, infusion duration and bioavailability of the doses into one state.

    A data set tells when a dose is given and how much, see `Dose`. Parameters of the system may say
    what becomes of it: of a dose of amount a at time t, the share F a arrives in the state from
    t + lag on, at once or at the constant rate F a / duration until t + lag + duration. Each
    parameter holds for all doses of a trajectory into that state, which may be many and overlap.
    Fits take the exact derivatives by all three.

    Attributes:
        state: Name of a state of the system.
        lag: Name of the parameter that is the lag time, in the time unit; None for no lag.
        duration: Name of the parameter that is the duration of the infusion, likewise, above zero;
            None for a bolus.
        bioavailability: Name of the parameter that is the share that arrives; None for all of it.

    Raises:
        UsageError: No parameter is named.

    Example:
        >>> Dosing("gut", lag="lag").state
        'gut'
    """

    state: str
    lag: str | None = None
    duration: str | None = None
    bioavailability: str | None = None

    def __post_init__(self) -> None:
        if not self.names:
            raise UsageError(
                f"Dosing({self.state!r}) says nothing; name a parameter, like "
                f"Dosing({self.state!r}, lag='lag'), or leave it out"
            )

    @property
    def names(self) -> list[str]:
        """The parameters that are named."""
        named = (self.lag, self.duration, self.bioavailability)
        return [name for name in named if name is not None]
