"""Noise that differs between outputs: a noise model for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.noise.noise import Floats, Noise, Values


class NoiseByOutput(Noise):
    """Noise models of O outputs, which are the last axis of all arrays.

    Args:
        models: The noise model of each output, in order.
        outputs: Names of the outputs.
    """

    name = "by_output"
    label = "mixed"

    def __init__(self, models: Sequence[Noise], outputs: Sequence[str]) -> None:
        self._models, self._outputs = tuple(models), tuple(outputs)
        self.relative = all(one.relative for one in models)
        self.chi_square = all(one.chi_square for one in models)
        # Levels are eliminated where all are those of normal errors, otherwise not.
        self.level_is_joint = not self.is_squared
        names = [one.level_name for one in models if one.level_name is not None]
        self.level_name = names[0] if names else None

    @property
    def models(self) -> tuple[Noise, ...]:
        """The noise model of each output."""
        return self._models

    def of(self, output: int) -> Noise:
        """See `Noise`."""
        return self._models[output]

    def select(self, outputs: Sequence[str]) -> NoiseByOutput:
        """Return the noise of some outputs, in their order."""
        for name in outputs:
            if name not in self._outputs:
                raise UsageError(
                    f"distribution says nothing about the output {name!r}; add it: it has "
                    f"{', '.join(self._outputs)}"
                )
        return NoiseByOutput([self._models[self._outputs.index(name)] for name in outputs], outputs)

    @property
    def settings(self) -> dict[str, Any]:
        """Name and parameters of each output's noise."""
        pairs = zip(self._outputs, self._models, strict=True)
        return {"by_output": {name: [one.name, one.settings] for name, one in pairs}}

    @property
    def key(self) -> tuple[Any, ...]:
        """See `Noise`."""
        return type(self), *(one.key for one in self._models)

    @property
    def is_squared(self) -> bool:
        """See `Noise`."""
        return all(one.is_squared for one in self._models)

    def squared(self) -> Noise:
        """See `Noise`."""
        return NoiseByOutput([one.squared() for one in self._models], self._outputs)

    def impossible(self, observed: Values) -> Any:
        """See `Noise`."""
        return self._stacked(lambda noise, y: noise.impossible(y), observed)

    def undefined(self, predicted: Values) -> Any:
        """See `Noise`."""
        return self._stacked(lambda noise, f: noise.undefined(f), predicted)

    def magnitude(self, observed: Tensor) -> Tensor:
        """See `Noise`."""
        return self._tensor(lambda noise, y: noise.magnitude(y), observed)

    def transformed(self, value: Tensor) -> Tensor:
        """See `Noise`."""
        return self._tensor(lambda noise, y: noise.transformed(y), value)

    def residual(self, observed: Tensor, predicted: Tensor) -> Tensor:
        """See `Noise`."""
        return self._tensor(lambda noise, y, f: noise.residual(y, f), observed, predicted)

    def standardized(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """See `Noise`."""
        every = observed, predicted, level
        return self._tensor(lambda noise, *given: noise.standardized(*given), *every)

    def loss(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """See `Noise`."""
        every = observed, predicted, level
        return self._tensor(lambda noise, *given: noise.loss(*given), *every)

    def information(self, predicted: Tensor, level: Tensor) -> Tensor:
        """See `Noise`."""
        return self._tensor(lambda noise, *given: noise.information(*given), predicted, level)

    def log_density(self, observed: Tensor, predicted: Tensor, level: Tensor) -> Tensor:
        """See `Noise`."""
        every = observed, predicted, level
        return self._tensor(lambda noise, *given: noise.log_density(*given), *every)

    def draw(self, predicted: Floats, level: Floats, uniform: Floats) -> Floats:
        """See `Noise`."""
        every = np.broadcast_arrays(predicted, level, uniform)
        return np.asarray(self._stacked(lambda noise, *given: noise.draw(*given), *every))

    def _tensor(self, function: Callable[..., Tensor], *arrays: Tensor) -> Tensor:
        every = torch.broadcast_tensors(*arrays)
        found: Tensor = self._stacked(function, *every)
        return found

    def _stacked(self, function: Callable[..., Any], *arrays: Any) -> Any:
        columns = [
            function(one, *(part[..., place] for part in arrays))
            for place, one in enumerate(self._models)
        ]
        if isinstance(columns[0], Tensor):
            return torch.stack(columns, dim=-1)
        return np.stack(columns, axis=-1)


def noise_for(noise: Noise, outputs: Sequence[str]) -> Noise:
    """Return the noise of outputs in their order, from one for all or from a mapping.

    Raises:
        UsageError: An output has no noise model.
    """
    return noise.select(outputs) if isinstance(noise, NoiseByOutput) else noise
