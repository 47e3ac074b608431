"""A PEtab problem: a system, a data set, the arguments of `fit`, and the log likelihood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from warp_phys.petab.arguments import fit_arguments
from warp_phys.petab.assemble import Assembled, assemble
from warp_phys.petab.dataset import log_density_constant, problem_dataset
from warp_phys.petab.likelihood import Evaluated, evaluate
from warp_phys.petab.noise_arguments import noise_arguments
from warp_phys.petab.sbml_model import Model
from warp_phys.petab.system import PetabSystem
from warp_phys.petab.tables import Tables
from warp_phys.petab.weighted_noise import WeightedNoise
from warp_phys.systems.errors import UnsupportedError, unknown_name


class PetabProblem:
    """A parameter estimation problem that was read by `read_petab`.

    It unpacks as `system, data, arguments = read_petab(...)`.

    Attributes:
        system: The system. Its parameters are those of the problem, and those that conditions or
            measurements set differently.
        data: The measurements. One experiment is several trajectories where an observable has
            several values at one time or different parameters. Where the noise is not one that
            `fit` has by name, each observable is two outputs: its residual over the noise level,
            "observed" as 0, and the logarithm of that level.
        nominal: The published or assumed values of the estimated parameters, by identifier.
        log_likelihood_constant: What to add to the sum of `log_likelihood` of a fit for that of the
            problem: not zero where outputs are logarithms or residuals of logarithms.
        remarks: What of the problem the arguments of `fit` leave out or state otherwise.
    """

    def __init__(self, tables: Tables, model: Model) -> None:
        self._tables = tables
        self._assembled = assemble(tables, model)
        self.nominal: dict[str, float] = {
            parameter.name: parameter.nominal
            for parameter in tables.parameters.values()
            if parameter.estimated
        }
        self._stated, self._noise, reason = self._state(model)
        self.system: PetabSystem = self._stated.system
        self.data: xr.Dataset = problem_dataset(self._stated, tables.name)
        self.log_likelihood_constant: float = log_density_constant(self._stated)
        self.remarks: tuple[str, ...] = (*reason, *_priors(tables))

    def _state(self, model: Model) -> tuple[Assembled, dict[str, Any] | None, tuple[str, ...]]:
        """Return what `fit` gets, its arguments about noise, and why it is stated otherwise."""
        try:
            return self._assembled, noise_arguments(self._assembled, self._values({})), ()
        except UnsupportedError as error:
            reason = str(error)
        try:
            weighted = assemble(self._tables, model, weighted=True)
        except UnsupportedError as error:
            return self._assembled, None, (f"{error}",)
        words = f"outputs are residuals over noise levels, and logarithms of levels, as {reason}"
        return weighted, {"distribution": WeightedNoise()}, (words,)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `fit` besides the system and the data.

        Raises:
            UnsupportedError: `fit` cannot state the problem, see the message for what is missing.
        """
        if self._noise is None:
            raise UnsupportedError(self.remarks[0])
        return self._noise | fit_arguments(self._stated, self._tables.parameters)

    def log_likelihood(
        self,
        parameters: Mapping[str, float] | None = None,
        *,
        rtol: float = 1e-8,
        atol: float = 1e-12,
        method: str = "auto",
    ) -> float:
        r"""Return the log likelihood of all measurements, without priors.

        For normal noise with level s in the scale z of an observable (the value, its natural or
        decadic logarithm) it is the sum over the measurements y, with predictions f, of

        .. math::
            \log p(y) = -\tfrac12 \left( \frac{z(y) - z(f)}{s} \right)^2
                - \log (s \sqrt{2 \pi}) + \log z'(y)

        Args:
            parameters: Values by identifier of the problem, in linear scale; those left out are
                nominal.
            rtol: Relative tolerance of the integration.
            atol: Absolute tolerance of the integration.
            method: Method of the integration, see `integrate`.

        Raises:
            UnknownNameError: The problem does not estimate a parameter.
            UsageError: An integration fails, or a trajectory reaches no steady state.
        """
        return float(self._evaluate(parameters, rtol, atol, method).log_density.sum())

    def predict(
        self,
        parameters: Mapping[str, float] | None = None,
        *,
        rtol: float = 1e-8,
        atol: float = 1e-12,
        method: str = "auto",
    ) -> NDArray[np.float64]:
        """Return the prediction of every measurement, in the order of the measurement tables.

        Lines without a value are left out. The arguments are those of `log_likelihood`.
        """
        return self._evaluate(parameters, rtol, atol, method).predicted.numpy()

    def start(self, parameters: Mapping[str, float] | None = None) -> dict[str, Any]:
        """Return values as the argument `initial` of `fit`, by default the nominal ones.

        Args:
            parameters: Values by identifier of the problem; those left out are nominal.
        """
        values = self._values(parameters or {})
        return {
            parameter.name: [values[v] if isinstance(v, str) else v for v in source]
            for parameter, source in zip(self.system.parameters, self._stated.sources, strict=True)
            if parameter.fixed is None
        }

    def estimates(self, fitted: xr.Dataset) -> dict[str, float]:
        """Return the estimates of a fit of this problem by identifier of the problem.

        Noise levels that the fit has as `noise_sd` are not among them.

        Args:
            fitted: What `fit` returned.
        """
        found: dict[str, float] = {}
        table = fitted["parameters"].transpose("trajectory", "parameter")
        for parameter, source in zip(self.system.parameters, self._stated.sources, strict=True):
            column = table.sel(parameter=parameter.name).values
            found |= {v: float(column[row]) for row, v in enumerate(source) if isinstance(v, str)}
        return found

    def __iter__(self) -> Iterator[Any]:
        return iter((self.system, self.data, self.arguments))

    def __repr__(self) -> str:
        return (
            f"PetabProblem({self._tables.name}: {len(self.nominal)} estimated parameters, "
            f"{len(self._tables.measurements)} measurements, "
            f"{self.data.sizes['trajectory']} trajectories, {len(self.system.states)} states)"
        )

    def _evaluate(
        self, parameters: Mapping[str, float] | None, rtol: float, atol: float, method: str
    ) -> Evaluated:
        with torch.no_grad():
            return evaluate(self._assembled, self._values(parameters or {}), rtol, atol, method)

    def _values(self, given: Mapping[str, float]) -> dict[str, float]:
        """Return values of all parameters of the table."""
        for name in given:
            if name not in self.nominal:
                raise unknown_name("estimated parameter of the problem", name, self.nominal)
        table = {one.name: one.nominal for one in self._tables.parameters.values()}
        return {**table, **{name: float(value) for name, value in given.items()}}


def _priors(tables: Tables) -> tuple[str, ...]:
    return tuple(
        f"parameter {one.name!r} has a prior ({one.prior[0]} {one.prior[1]}), which is left out"
        for one in tables.parameters.values()
        if one.prior
    )
