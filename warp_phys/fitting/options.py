"""The options of `fit`, collected and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.priors import Priors, described
from warp_phys.likelihood.stating.sharing import Shared
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
    shared: Shared
    group: Any
    ties: Mapping[str, Any] | None
    priors: Priors
    distribution: Noise | str | Mapping[str, Noise | str]
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
    def variable_names(self) -> tuple[str, ...]:
        """Names of the variables of the data set that name groups or hold known values."""
        named: list[Any] = [self.group, self.initial_time]
        for given in (self.shared, self.fixed, self.initial_state):
            if isinstance(given, Mapping):
                named += given.values()
        words = (value for value in named if isinstance(value, str) and value != "all")
        return tuple(dict.fromkeys(words))

    def check_numbers(self) -> None:
        """Check the options that are numbers.

        Raises:
            UsageError: One of them lies outside its range.
        """
        check_level(self.level)
        if self.starts is not None:
            check_whole("starts", self.starts)
        check_whole("max_iterations", self.max_iterations, least=0)
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
            ties=self.ties,
            mixed=True,
            priors=self.priors,
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
            "priors": _described(self.priors),
            "shared": _named(self.shared),
            "fixed": dict(self.fixed or {}),
            "ties": {
                name: tie if isinstance(tie, str) else None
                for name, tie in (self.ties or {}).items()
            },
            "initial_state": self.initial_state if isinstance(self.initial_state, str) else "given",
            "bounds": {name: list(pair) for name, pair in (self.bounds or {}).items()},
        }


def _described(priors: Priors) -> Any:
    """Return priors as settings record them."""
    if isinstance(priors, Mapping):
        return {name: described(given) for name, given in priors.items()}
    return None if priors is None else "joint"


def _named(shared: Shared) -> Any:
    """Return what is shared as settings record it: names, or a mapping to the name of the group."""
    if isinstance(shared, Mapping):
        return {
            name: value if isinstance(value, str) else "labels" for name, value in shared.items()
        }
    return [shared] if isinstance(shared, str) else list(shared or ())
