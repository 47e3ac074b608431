"""The options of `fit`, collected and checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.state_problem import state_problem
from warp_phys.models.bands import check_level
from warp_phys.records.records import Records
from warp_phys.systems.dynamics.arguments import check_whole
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise


@dataclass(frozen=True)
class FitOptions:
    """The options of a call of `fit`, whose docstring explains each of them."""

    initial: Any
    initial_state: Any
    initial_time: Any
    fixed: Mapping[str, Any] | None
    bounds: Mapping[str, Any] | None
    shared: Sequence[str] | None
    group: Any
    distribution: Noise | str
    noise_sd: Any
    loss: str
    starts: int | None
    tolerance: float
    max_iterations: int
    time_budget: float | None
    rtol: float
    level: float
    progress: bool

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Select the options from the arguments of a call."""
        return cls(**{option.name: arguments[option.name] for option in fields(cls)})

    @property
    def group_names(self) -> tuple[str, ...]:
        """The coordinate of the data set that names the groups, if one does."""
        return (self.group,) if isinstance(self.group, str) else ()

    def check_numbers(self) -> None:
        """Check the options that are numbers.

        Raises:
            UsageError: One of them lies outside its range.
        """
        check_level(self.level)
        if self.starts is not None:
            check_whole("starts", self.starts)
        check_whole("max_iterations", self.max_iterations)
        for name, value in (("tolerance", self.tolerance), ("rtol", self.rtol)):
            if not isinstance(value, int | float) or not 1e-15 < value < 0.1:
                raise UsageError(f"expected {name} between 1e-15 and 0.1, got {value!r}")
        budget = self.time_budget
        if budget is not None and not (isinstance(budget, int | float) and budget > 0.0):
            raise UsageError(f"expected time_budget in seconds, above 0, got {budget!r}")

    def problem(self, system: System, records: Records) -> FitProblem:
        """Return the problem that the options state; see `state_problem` for the errors."""
        return state_problem(
            system,
            records,
            distribution=self.distribution,
            loss=self.loss,
            noise_sd=self.noise_sd,
            initial_state=self.initial_state,
            initial_time=self.initial_time,
            fixed=self.fixed,
            bounds=self.bounds,
            shared=self.shared,
            group=self.group,
            rtol=self.rtol,
        )

    def settings(self) -> dict[str, Any]:
        """Return the options as the attribute `settings` of a result records them."""
        return {
            "initial": "given" if self.initial is not None else None,
            "starts": self.starts,
            "tolerance": self.tolerance,
            "max_iterations": self.max_iterations,
            "time_budget": self.time_budget,
            "noise_sd": self.noise_sd if isinstance(self.noise_sd, str) else "known",
            "loss": self.loss,
            "shared": list(self.shared or ()),
            "fixed": dict(self.fixed or {}),
            "bounds": {name: list(pair) for name, pair in (self.bounds or {}).items()},
        }
