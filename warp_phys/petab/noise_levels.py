"""What is known of the noise of each output: numbers, one parameter to be estimated, or neither."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from warp_phys.petab.assemble import Assembled
from warp_phys.petab.expressions import Expression, Name, names_in
from warp_phys.petab.likelihood import predictions, system_parameters
from warp_phys.petab.observables import OutputFormulas, placeholder
from warp_phys.petab.outputs import transforms
from warp_phys.petab.slots import Floats


class Levels:
    """The noise levels of the outputs of a problem.

    Args:
        assembled: The problem.
        nominal: Values of all parameters.
    """

    def __init__(self, assembled: Assembled, nominal: Mapping[str, float]) -> None:
        self._assembled = assembled
        self._nominal = nominal
        self._given = self._placeholders()

    def parameter_of(self, one: OutputFormulas) -> str | None:
        """Return the parameter that is the level of an output, if one parameter is."""
        noise: Expression | None = one.noise
        while isinstance(noise, Name) and noise.name not in self._given:
            if noise.name.startswith("parameter "):
                name = noise.name.partition(" ")[2]
                return name if name in self._nominal else None
            noise = self._assembled.definitions.get(noise.name)
        if not isinstance(noise, Name):
            return None
        values = self._given[noise.name]
        (value, *others) = values
        return value if isinstance(value, str) and not others else None

    def estimated(self, one: OutputFormulas) -> bool:
        """Return whether the level of an output depends on states or estimated parameters."""
        waiting, seen = list(names_in(one.noise)), set()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self._given:
                if any(isinstance(value, str) for value in self._given[name]):
                    return True
                continue
            definition = self._assembled.definitions.get(name)
            if definition is None:
                if not self._constant(name):
                    return True
                continue
            waiting.extend(names_in(definition))
        return False

    def used_by_the_system(self, parameter: str) -> bool:
        """Return whether a parameter moves the predictions, too."""
        return any(parameter in source for source in self._assembled.sources)

    def known(self) -> dict[str, Floats]:
        """Return the levels (N, T) by output, of which none may be estimated.

        Levels of log-normal noise are standard deviations of natural logarithms.
        """
        assembled = self._assembled
        states = torch.ones(
            (*assembled.layout.times.shape, len(assembled.system.states)), dtype=torch.float64
        )
        parameters = system_parameters(assembled, self._nominal)
        _, noise = predictions(assembled, self._nominal, parameters, states)
        logs = not transforms(assembled.formulas)
        found = {}
        for name, one, level in zip(
            assembled.system.output_names, assembled.formulas, noise, strict=True
        ):
            decadic = logs and one.observable.scale == "log10"
            found[name] = (level * math.log(10.0) if decadic else level).numpy()
        return found

    def _constant(self, leaf: str) -> bool:
        equations = self._assembled.system.equations
        if leaf in equations.states:
            return False
        if leaf in equations.names:
            names = self._assembled.system.parameter_names
            if equations.names[leaf] not in names:
                return True  # an input
            source = self._assembled.sources[names.index(equations.names[leaf])]
            return not any(isinstance(value, str) for value in source)
        source = self._assembled.resolved.parameters.get(leaf, ())
        return not leaf.startswith("parameter ") and not any(isinstance(v, str) for v in source)

    def _placeholders(self) -> dict[str, tuple[float | str, ...]]:
        """Return the different values of each placeholder of noise."""
        layout = self._assembled.layout
        found: dict[str, dict[float | str, None]] = {}
        for cell, values in zip(layout.cells, layout.noise_values, strict=True):
            one = self._assembled.formulas[cell[2]]
            for number in range(one.noise_placeholders):
                key = placeholder("noise", number + 1, one.name)
                found.setdefault(key, {})[values[number]] = None
        return {name: tuple(values) for name, values in found.items()}
