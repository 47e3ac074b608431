"""The noise that forecasts add: of each output, with levels and parameters that were estimated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.systems.noise.noise import Floats, Noise
from warp_phys.systems.noise.sample_terms import LEVEL


@dataclass(frozen=True)
class OwnParameters:
    """Parameters of the noise that were unknowns of a fit.

    Attributes:
        values: (N, Q), their estimates.
        columns: For each output, the columns of its parameters by name.
    """

    values: Tensor
    columns: Sequence[Mapping[str, int]]


def own_parameters(fitted: xr.Dataset) -> OwnParameters | None:
    """Return the parameters of the noise that a fit estimated with its unknowns, if any."""
    if "noise_parameters" not in fitted:
        return None
    names = fitted["noise_parameter"].values.tolist()
    found = json.loads(fitted.attrs["settings"])["noise_parameters"]
    columns = [
        {name: names.index(label) for name, label in found[output].items()}
        for output in fitted["output"].values.tolist()
    ]
    values = fitted["noise_parameters"].transpose("trajectory", "noise_parameter").values
    return OwnParameters(torch.as_tensor(np.array(values, dtype=np.float64)), columns)


def measured(
    noise: Noise,
    own: OwnParameters | None,
    table: Tensor,
    curves: Tensor,
    level: Tensor,
    uniform: Floats,
) -> Tensor:
    """Return draws of measurements (n, draws, T, O) around curves.

    Args:
        noise: The noise model.
        own: Which of its parameters are in the table.
        table: (n, draws, Q), drawn parameters of the noise.
        curves: (n, draws, T, O).
        level: (n, draws, O), levels of the noise where they are not in the table.
        uniform: (draws, T, O), numbers between 0 and 1.
    """
    columns = []
    for output in range(curves.shape[3]):
        chosen = {} if own is None else own.columns[output]
        values = {name: table[..., at, None].numpy() for name, at in chosen.items()}
        size = values.pop(LEVEL, level[..., output, None].numpy())
        one = noise.of(output).at(values)
        columns.append(one.draw(curves[..., output].numpy(), size, uniform[..., output]))
    return torch.from_numpy(np.stack(columns, axis=-1))
