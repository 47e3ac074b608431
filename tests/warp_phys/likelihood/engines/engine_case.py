"""A case of the engines of a fit: how it is evaluated, and the sums that are expected of it.

These are put together here from predictions through the closed form or many small steps of RK4 and
torch's forward derivatives of those.
"""

from __future__ import annotations

from functools import lru_cache
from inspect import signature
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.data_gen import simulate
from warp_phys.fitting.fit import fit
from warp_phys.fitting.options import FitOptions
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.engine import Engine, Evaluation, Sums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.records.records import read_records
from warp_phys.systems import Dose, System, integrate
from warp_phys.systems.noise.huber import BEND

COUNT, LANES = 5, 21
SAMPLES = (7, 5, 7, 4, 6)
LEVEL = 1.5


def untraceable(system: System) -> System:
    """Return the same system with a decision by value, which no trace can record."""
    base = type(system)

    def rhs(self: System, t: Any, y: Tensor, p: Any) -> Any:
        return base.rhs(self, t, y, p) if bool((y < torch.inf).any()) else tuple(torch.nan * y)

    return type(base.__name__, (base,), {"rhs": rhs})(**system.options)


def packed(size: int) -> tuple[Tensor, Tensor]:
    rows, columns = zip(*[(d, e) for d in range(size) for e in range(d + 1)], strict=True)
    return torch.tensor(rows), torch.tensor(columns)


@lru_cache
def simulated(case: type[EngineCase]) -> xr.Dataset:
    """Own grids of different lengths with a fifth of the values missing."""
    generator = np.random.default_rng(0)
    times = case.end * np.sort(generator.uniform(size=(COUNT, max(SAMPLES))), axis=1)
    times[np.arange(max(SAMPLES)) >= np.array(SAMPLES)[:, None]] = np.nan
    names = case.system.input_names
    knots = None
    if case.knots:
        knots = case.end * np.sort(generator.uniform(size=(COUNT, case.knots)), axis=1)
        knots[1, -1] = np.nan
    shape = times.shape if knots is None else knots.shape
    return simulate(
        case.system,
        COUNT,
        times,
        inputs={name: generator.normal(size=shape) for name in names} or None,
        input_times=knots,
        doses=case.doses,
        noise=0.1,
        missing=0.2,
        distribution=case.distribution,
        observe=case.observe,
        seed=1,
    )


@lru_cache
def differentiated(case: type[EngineCase]) -> list[tuple[Tensor, Tensor]]:
    """Return predictions (L, T, O) and last states (L, S), each with its derivatives (D, ...)."""
    test = case()
    problem = test.problem()
    at = test.at_lanes(problem)
    size = at.shape[1]
    along = torch.eye(size, dtype=torch.float64).repeat_interleave(LANES, dim=0)
    values, slopes = torch.func.jvp(
        lambda unknowns: test.reached_at(problem, unknowns, size), (at.repeat(size, 1),), (along,)
    )
    return [
        (value[:LANES], slope.unflatten(0, (size, LANES)))
        for value, slope in zip(values, slopes, strict=True)
    ]


class EngineCase:
    """A subclass says which system, how it is observed, and what is known."""

    system: System
    observe: tuple[str, ...] | None = None
    end: float
    distribution: Any = "normal"
    loss = "huber"
    initial_state: Any = "estimate"
    substeps = 30
    knots = 0
    doses: tuple[Dose, ...] = ()

    # What is evaluated

    def data(self) -> xr.Dataset:
        return simulated(type(self))

    def problem(self, system: System | None = None, **options: Any) -> FitProblem:
        data = self.data()
        system = self.system if system is None else system
        names = [str(name) for name in data["output"].values]
        known: dict[str, Any] = {
            "initial_state": self.initial_state,
            "initial_time": data["time"].values[:, 0] - 0.05 * self.end,
            "distribution": self.distribution,
            "noise_sd": {name: 0.1 + 0.05 * np.arange(COUNT) for name in names},
            "loss": self.loss,
        }
        defaults = {name: one.default for name, one in signature(fit).parameters.items()}
        records = read_records(data, system, forcing=True)
        asked = FitOptions.from_arguments(defaults | known | options)
        return asked.problem(system, records)

    def lanes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return trajectory, sample limit, parameters and initial states of the lanes."""
        data, rows = self.data(), torch.arange(LANES) % COUNT
        spread = 1.0 + 0.1 * torch.linspace(-1.0, 1.0, LANES, dtype=torch.float64)[:, None]
        parameters = torch.tensor(data["true_parameters"].values)[rows] * spread
        initial = torch.tensor(data["true_initial_state"].values)[rows] / spread
        limit = torch.tensor(SAMPLES)[rows]
        limit[15:] -= 1
        return rows, limit, parameters, initial

    def evaluated(
        self,
        problem: FitProblem,
        engine: Engine | None = None,
        chosen: Tensor | None = None,
        changed: dict[int, float] | None = None,
        **options: Any,
    ) -> tuple[Sums, Tensor]:
        rows, limit, parameters, initial = self.lanes()
        for lane, value in (changed or {}).items():
            parameters[lane], initial[lane] = value, value
        outputs = len(problem.records.outputs)
        engine = build_engine(problem, rows, limit) if engine is None else engine
        sums = Sums.empty(LANES, outputs, len(problem.unknowns))
        predicted = torch.full((LANES, max(SAMPLES), outputs), torch.nan, dtype=torch.float64)
        chosen = torch.arange(LANES) if chosen is None else chosen
        precision = torch.full((LANES, outputs), LEVEL**-2, dtype=torch.float64)
        engine.evaluate(
            Evaluation(
                chosen,
                parameters,
                initial,
                sums,
                precision=precision,
                predicted=predicted,
                **options,
            )
        )
        return sums, predicted

    # What it should give

    def reached_at(
        self, problem: FitProblem, unknowns: Tensor, repeat: int
    ) -> tuple[Tensor, Tensor]:
        """Return predictions (n, T, O) and the states (n, S) at the last sample of each lane.

        Args:
            problem: The problem.
            unknowns: (n, D), of the lanes, one after the other, `repeat` times over.
            repeat: How many times.
        """
        states, parameters, times, inputs = self.states_at(problem, unknowns, repeat)
        each = parameters.T[:, :, None].expand(-1, -1, times.shape[1])
        given = None if inputs is None else inputs.movedim(2, 0)
        found = self.system.outputs_at(times, states.movedim(2, 0), each, given)
        _, limit, _, _ = self.lanes()
        last = (limit - 1).repeat(repeat)[:, None, None].expand(-1, 1, states.shape[2])
        return found[problem.seen].movedim(0, 2), states.gather(1, last).squeeze(1)

    def states_at(
        self, problem: FitProblem, unknowns: Tensor, repeat: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return states (n, T, S), parameters, times and inputs of the lanes."""
        rows, _, parameters, initial = (
            part.repeat(repeat, *[1] * (part.ndim - 1)) for part in self.lanes()
        )
        columns, states = list(parameters.unbind(1)), list(initial.unbind(1))
        for place, entry in enumerate(problem.unknowns.entries):
            (columns if entry.kind == "parameter" else states)[entry.index] = unknowns[:, place]
        parameters = torch.stack(columns, dim=1)
        implied = self.system.initial_state_at(parameters.T)
        times = problem.records.times[rows]
        inputs = problem.records.inputs[rows] if self.system.inputs else None
        solution = integrate(
            self.system,
            times,
            torch.stack(states, dim=1) if implied is None else implied.T,
            parameters,
            **self.outside(rows),
            initial_time=problem.start[rows],
            method="solution" if self.system.has_solution else "rk4",
            substeps=self.substeps,
        )
        return solution.states, parameters, times, inputs

    def outside(self, rows: Tensor) -> dict[str, Any]:
        """Return the inputs and doses of trajectories as `integrate` takes them."""
        data, given = self.data(), {}
        if self.system.inputs:
            table = data["input_table" if self.knots else "inputs"].values
            given["inputs"] = torch.from_numpy(table)[rows]
        if self.knots:
            given["input_times"] = torch.tensor(data["input_time"].values)[rows]
        if self.doses:
            parts = (torch.from_numpy(data[f"dose_{name}"].values) for name in ("amount", "time"))
            columns = zip(
                data["dose_state"].values, *(part.unbind(1) for part in parts), strict=True
            )
            given["doses"] = [
                Dose(str(name), amount[rows], time[rows]) for name, amount, time in columns
            ]
        return given

    def at_lanes(self, problem: FitProblem) -> Tensor:
        """Return the unknowns (L, D) of the lanes."""
        _, _, parameters, initial = self.lanes()
        table = {"parameter": parameters, "initial_state": initial}
        return torch.stack(
            [table[entry.kind][:, entry.index] for entry in problem.unknowns.entries], dim=1
        )

    def half_loss(self, scaled: Tensor) -> Tensor:
        """Return half the loss of residuals over their level."""
        return torch.nn.functional.huber_loss(
            scaled, torch.zeros_like(scaled), reduction="none", delta=BEND
        )

    def expected(self, problem: FitProblem) -> tuple[Sums, Tensor]:
        rows, limit, _, _ = self.lanes()
        predicted, slopes = differentiated(type(self))[0]
        observed = problem.records.observed[rows]
        logarithmic = self.distribution == "lognormal"
        if logarithmic:
            observed, slopes = observed.log(), slopes / predicted
        reached = torch.arange(max(SAMPLES)) < limit[:, None]
        seen = observed.isfinite() & reached[:, :, None]
        model = predicted.log() if logarithmic else predicted
        residual = torch.where(seen, observed - model, 0.0)
        slopes = torch.where(seen, slopes, 0.0)
        assert problem.weights is not None
        root = torch.where(seen, problem.weights[rows], 1.0).sqrt() / LEVEL
        scaled = (residual * root).requires_grad_()
        with torch.enable_grad():
            loss = self.half_loss(scaled)
            (pull,) = torch.autograd.grad(loss.sum(), scaled)
        weight = torch.where(seen, pull * root / residual, 0.0)
        first, second = packed(len(slopes))
        products = torch.einsum("lto,klto,klto->lok", weight, slopes[first], slopes[second])
        return Sums(
            hessian=products,
            gradient=torch.einsum("lto,dlto->lod", pull * root, slopes),
            squares=2.0 * loss.detach().sum(dim=1),
            counted=seen.sum(dim=1).double(),
            status=torch.zeros(LANES, dtype=torch.int32),
        ), torch.where(reached[:, :, None], predicted, torch.nan)
