"""What the caller of the information head knows beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from warp_phys.likelihood.stating.noise_arguments import noise_model
from warp_phys.models.information.prior.prior import NOISE, check_names
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.location_scale import LocationScale
from warp_phys.systems.noise.noise import Noise


@dataclass(frozen=True)
class InformationOptions:
    """The options of the information head, which `WarpPhys` explains.

    Attributes:
        priors: Distributions by unknown.
        drift: Sizes of random walks by parameter.
        distribution: The noise model, or its name; None for that of the data set that the prior was
            learned from, or else normal noise.
        loss: "linear" or "huber".
        noise_sd: "each", "common", or known levels.
        initial_state: "auto", "first_sample", "estimate", or known states.
        fixed: Known parameters.
    """

    priors: Mapping[str, Any] = field(default_factory=dict)
    drift: Mapping[str, float] = field(default_factory=dict)
    distribution: Noise | str | None = None
    loss: str = "linear"
    noise_sd: Any = "each"
    initial_state: Any = "auto"
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def check(self, system: System) -> None:
        """Raise UsageError unless all options suit a system."""
        location_scale(noise_model(self.distribution or "normal", self.loss))
        _check_mapping("priors", self.priors)
        check_names(system, self.priors)
        levels = [name for name in self.priors if name.startswith(NOISE)]
        if levels and not isinstance(self.noise_sd, str):
            raise UsageError(
                f"priors[{levels[0]!r}] is of a noise level, and noise_sd says that it is known; "
                "leave out one"
            )
        _check_mapping("fixed", self.fixed)
        for name in self.fixed:
            if name not in system.parameter_names:
                raise unknown_name(f"parameter of {system.name}", name, system.parameter_names)
        _check_mapping("drift", self.drift)
        if self.drift and (system.events or system.dosing):
            raise UsageError(
                f"drift starts anew at every sample, and cannot tell which events of {system.name} "
                "or doses with a lag time have happened; leave it out, or cut the record"
            )
        for name, size in self.drift.items():
            if name in self.fixed:
                raise UsageError(f"parameter {name!r} is fixed and cannot drift; leave out one")
            if name not in system.free_names:
                raise unknown_name(f"free parameter of {system.name}", name, system.free_names)
            number = isinstance(size, int | float) and not isinstance(size, bool)
            if not number or not 0.0 < size < float("inf"):
                raise UsageError(
                    f"expected drift[{name!r}] as a positive number, the standard deviation of "
                    f"the change of its coordinate in one {system.time_unit}, got {size!r}"
                )

    def settings(self) -> dict[str, Any]:
        """Return the options as the attribute `settings` of a result records them."""
        return {
            "priors": {name: _described(value) for name, value in self.priors.items()},
            "drift": dict(self.drift),
            "loss": self.loss,
            "noise_sd": self.noise_sd if isinstance(self.noise_sd, str) else "known",
            "initial_state": self.initial_state if isinstance(self.initial_state, str) else "given",
            "fixed": dict(self.fixed),
        }


def location_scale(noise: Noise) -> LocationScale:
    """Return a noise model that the information head can take, or raise UsageError."""
    if isinstance(noise, LocationScale) and noise.unknown:
        name = noise.unknown[0].name
        raise UsageError(
            f"the information head takes noise with known parameters, got {noise.label} noise "
            f"without {name}; give distribution={type(noise).__name__}({name}=...), or use fit(...)"
        )
    if not isinstance(noise, LocationScale):
        raise UsageError(
            f"the information head takes noise whose errors have one distribution up to a level "
            f"(normal, lognormal or a LocationScale), got {noise.label} noise; use fit(...)"
        )
    return noise


def _check_mapping(name: str, given: Any) -> None:
    if not isinstance(given, Mapping):
        raise UsageError(f"expected {name} as a mapping from name to value, got {given!r}")


def _described(given: Any) -> str:
    """Return a distribution as text."""
    frozen = getattr(given, "dist", None)
    if frozen is None:
        return repr(given)
    arguments = [*map(str, given.args), *(f"{k}={v}" for k, v in given.kwds.items())]
    return f"{frozen.name}({', '.join(arguments)})"
