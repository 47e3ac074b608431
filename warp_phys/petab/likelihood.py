r"""The log likelihood of a PEtab problem at given parameters, as PEtab defines it.

With z the scale of the observable (the value itself, its natural or decadic logarithm), y the
measurement, f the prediction and s the noise level, normal noise has

    log p(y) = -1/2 ((z(y) - z(f)) / s)^2 - log(s sqrt(2 pi)) + log z'(y),

and Laplace noise log p(y) = -|z(y) - z(f)| / s - log(2 s) + log z'(y).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from warp_phys.petab.assemble import STEADY_START, Assembled
from warp_phys.petab.evaluation import Evaluation
from warp_phys.petab.observables import OutputFormulas, placeholder
from warp_phys.petab.tables import Value
from warp_phys.systems.dynamics.integrate import integrate
from warp_phys.systems.dynamics.problem import Solution
from warp_phys.systems.dynamics.steady_state import SteadyProblem, steady_states
from warp_phys.systems.errors import UsageError


@dataclass(frozen=True)
class Evaluated:
    """What the measurements are compared with, in the order of the tables.

    Attributes:
        predicted: (M,), the observable without noise.
        noise: (M,), standard deviation, or scale of Laplace noise, on the observable's scale.
        log_density: (M,), the log density of each measurement.
    """

    predicted: Tensor
    noise: Tensor
    log_density: Tensor


def evaluate(
    assembled: Assembled, values: Mapping[str, float], rtol: float, atol: float, method: str
) -> Evaluated:
    """Return predictions and log densities of all measurements.

    Args:
        assembled: The problem.
        values: Values of all parameters.
        rtol: Relative tolerance of the integration.
        atol: Absolute tolerance of the integration.
        method: Method of the integration.
    """
    parameters = system_parameters(assembled, values)
    states = _states(assembled, parameters, rtol, atol, method)
    every = predictions(assembled, values, parameters, states)
    rows, samples, outputs = torch.as_tensor(assembled.layout.cells).T
    predicted, noise = (torch.stack(table)[outputs, rows, samples] for table in every)
    observed = torch.as_tensor(assembled.layout.observed)[rows, samples, outputs]
    density = torch.zeros_like(observed)
    for output, one in enumerate(assembled.formulas):
        here = outputs == output
        if (noise[here] <= 0.0).any():
            raise UsageError(
                f"expected the noise of {one.name!r} as positive, received "
                f"{float(noise[here].min()):g} from {one.observable.noise_formula!r}"
            )
        density[here] = _log_density(one, observed[here], predicted[here], noise[here])
    return Evaluated(predicted, noise, density)


def system_parameters(assembled: Assembled, values: Mapping[str, float]) -> Tensor:
    """Return the system's parameters (N, P) from values of the problem's."""
    count = len(assembled.layout.trajectories)
    rows = [[_number(value, values) for value in source] for source in assembled.sources]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), count).T.contiguous()


def _number(value: Value, values: Mapping[str, float]) -> float:
    return values[value] if isinstance(value, str) else value


def _states(
    assembled: Assembled, parameters: Tensor, rtol: float, atol: float, method: str
) -> Tensor:
    """Return the states (N, T, S) at the samples."""
    system, trajectories = assembled.system, assembled.layout.trajectories
    initial = system.initial_state_at(parameters.T)
    assert initial is not None  # a system of this package has one
    initial = initial.T.contiguous()
    before, later = _inputs(assembled)
    options: dict[str, Any] = {"rtol": rtol, "atol": atol, "method": method}
    steady = torch.tensor([one.before is not None for one in trajectories])
    if steady.any():
        rows = steady.nonzero()[:, 0]
        initial[rows] = _steady(assembled, initial[rows], parameters[rows], before[rows], rows)
    times = torch.as_tensor(assembled.layout.times)

    def solve(rows: Tensor, by: str) -> Solution:
        return integrate(
            system,
            times[rows],
            initial[rows],
            parameters[rows],
            initial_time=0.0,
            **_input_arguments(later[rows]),
            **(options | {"method": by}),
        )

    solution = solve(torch.arange(len(trajectories)), method)
    states, failed = solution.states, (~solution.converged).nonzero()[:, 0]
    if failed.numel() and method == "auto":
        # Radau gets over jumps of the right-hand side at which batched methods give up.
        again = solve(failed, "scipy-stiff")
        states[failed] = again.states
        failed = failed[~again.converged]
    if failed.numel():
        raise UsageError(
            f"the integration of {failed.numel()} of {len(trajectories)} trajectories failed, the "
            f"first of which is {trajectories[int(failed[0])].label!r}; change the parameters, or "
            "use another method"
        )
    return states


def _steady(
    assembled: Assembled, initial: Tensor, parameters: Tensor, inputs: Tensor, rows: Tensor
) -> Tensor:
    """Return the steady states that trajectories reach under constant inputs."""
    # Many experiments begin in the same state, which is found once.
    together = torch.cat([initial, parameters, inputs], dim=1)
    different, place = torch.unique(together, dim=0, return_inverse=True)
    sizes = [initial.shape[1], parameters.shape[1], inputs.shape[1]]
    start, given, drive = (part.contiguous() for part in different.split(sizes, dim=1))
    # Before time zero: what is switched on later does not matter.
    time = torch.full((len(different),), STEADY_START, dtype=torch.float64)
    found = steady_states(
        SteadyProblem(assembled.system, given, start, drive if sizes[2] else None, time)
    )
    missing = (~found.isfinite().all(dim=1))[place].nonzero()[:, 0]
    if missing.numel():
        label = assembled.layout.trajectories[int(rows[missing[0]])].label
        raise UsageError(
            f"no steady state was found for the beginning of trajectory {label!r}; change the "
            "parameters"
        )
    return found[place]


def _inputs(assembled: Assembled) -> tuple[Tensor, Tensor]:
    """Return the inputs (N, I) before and from time zero on."""
    count = len(assembled.layout.trajectories)
    pairs = [
        torch.tensor([pair[phase].tolist() for pair in assembled.inputs], dtype=torch.float64)
        for phase in (0, 1)
    ]
    before, later = (values.reshape(len(assembled.inputs), count).T for values in pairs)
    return before.contiguous(), later.contiguous()


def _input_arguments(inputs: Tensor) -> dict[str, Any]:
    if not inputs.shape[1]:
        return {}
    return {"inputs": inputs[:, None], "input_times": torch.zeros(1, dtype=torch.float64)}


def predictions(
    assembled: Assembled, values: Mapping[str, float], parameters: Tensor, states: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Return predicted values and noise levels (N, T) of each output, on the scale of the data."""
    system, layout = assembled.system, assembled.layout
    times = torch.as_tensor(layout.times)
    shape = times.shape
    y = states.permute(2, 0, 1)
    columns = [column[:, None].expand(shape) for column in parameters.T]
    columns += [column[:, None].expand(shape) for column in _inputs(assembled)[1].T]
    named = dict(zip((*system.parameter_names, *system.input_names), columns, strict=True))
    placeholders = _noise_placeholders(assembled, values)

    def leaf(name: str) -> Any:
        if name in placeholders:
            return placeholders[name]
        place = system.equations.states.get(name)
        if place is not None:
            return y[place]
        if name in system.equations.names:
            return named[system.equations.names[name]]
        return _of_noise(assembled, values, name).expand(shape)

    evaluation = Evaluation(assembled.definitions, leaf, times, torch.zeros(shape).double())
    predicted = [evaluation.tensor(evaluation.value(one.formula)) for one in assembled.formulas]
    noise = [evaluation.tensor(evaluation.value(one.noise)) for one in assembled.formulas]
    return predicted, noise


def _of_noise(assembled: Assembled, values: Mapping[str, float], leaf: str) -> Tensor:
    """Return a quantity that the noise alone needs, (N, 1) or (1, 1)."""
    found: Any = [values.get(leaf.partition(" ")[2])]
    if leaf in assembled.resolved.parameters:
        found = [_number(value, values) for value in assembled.resolved.parameters[leaf]]
    elif leaf in assembled.resolved.inputs:
        found = assembled.resolved.inputs[leaf][1].tolist()
    return torch.tensor(found, dtype=torch.float64)[:, None]


def _noise_placeholders(assembled: Assembled, values: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the values (N, T) of the placeholders of noise, by name."""
    layout = assembled.layout
    found: dict[str, Tensor] = {}
    for output, one in enumerate(assembled.formulas):
        for number in range(one.noise_placeholders):
            table = torch.full(layout.times.shape, torch.nan, dtype=torch.float64)
            for cell, given in zip(layout.cells, layout.noise_values, strict=True):
                if cell[2] == output:
                    table[cell[0], cell[1]] = _number(given[number], values)
            found[placeholder("noise", number + 1, one.name)] = table
    return found


def _log_density(one: OutputFormulas, y: Tensor, f: Tensor, s: Tensor) -> Tensor:
    scale = one.observable.scale
    slope = torch.zeros_like(y)
    if scale != "lin":
        # d ln y / dy = 1 / y, d log10 y / dy = 1 / (y ln 10).
        slope = -(y if scale == "log" else y * math.log(10.0)).log()
        y, f = (torch.log(v) if scale == "log" else torch.log10(v) for v in (y, f))
    if one.observable.distribution == "laplace":
        return -(y - f).abs() / s - (2.0 * s).log() + slope
    return -0.5 * ((y - f) / s).square() - s.log() - 0.5 * math.log(2.0 * math.pi) + slope
