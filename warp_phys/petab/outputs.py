"""The outputs of the system: what is declared, how it is computed, and what was observed of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from warp_phys.petab.expressions import Expression, Operation
from warp_phys.petab.observables import OutputFormulas
from warp_phys.petab.slots import Floats
from warp_phys.petab.tables import Observable
from warp_phys.petab.trajectories import Layout
from warp_phys.systems.model.supports import Support


@dataclass
class Outputs:
    """Outputs of a system.

    Attributes:
        names: Their names, which may not be Python identifiers.
        supports: The sets of their possible values.
        descriptions: What they are.
        expressions: How they are computed.
        observed: What was observed of each, (N, T), NaN where nothing was.
        inputs: Values (N, T) at the samples of inputs they need, by leaf.
        weighted: Whether they hold the noise, see `weighted_outputs.py`.
    """

    names: list[str] = field(default_factory=list)
    supports: list[Support] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)
    expressions: list[Expression] = field(default_factory=list)
    observed: list[Floats] = field(default_factory=list)
    inputs: dict[str, Floats] = field(default_factory=dict)
    weighted: bool = False

    def add(
        self,
        name: str,
        expression: Expression,
        observed: Floats,
        *,
        description: str,
        support: Support = "real",
    ) -> None:
        """Add an output."""
        self.names.append(name)
        self.supports.append(support)
        self.descriptions.append(description)
        self.expressions.append(expression)
        self.observed.append(observed)


def plain_outputs(formulas: Sequence[OutputFormulas], layout: Layout) -> Outputs:
    """Return the observables as outputs, as logarithms where only some are measured so."""
    logarithms = transforms(formulas)
    found = Outputs()
    for place, one in enumerate(formulas):
        observable, values = one.observable, layout.observed[..., place]
        if observable.scale == "lin":
            found.add(one.name, one.formula, values, description=observable.description)
        elif not logarithms:
            found.add(
                one.name,
                one.formula,
                values,
                description=observable.description,
                support="positive",
            )
        else:
            word = "natural" if observable.scale == "log" else "decadic"
            found.add(
                one.name,
                on_scale(observable, one.formula),
                numbers_on_scale(observable, values),
                description=f"{word} logarithm of {observable.name}",
            )
    return found


def transforms(formulas: Sequence[OutputFormulas]) -> bool:
    """Return whether outputs are logarithms: only where some of them are measured so, not all."""
    scales = {one.observable.scale for one in formulas}
    return "lin" in scales and len(scales) > 1


def on_scale(observable: Observable, expression: Expression) -> Expression:
    """Return an expression on the scale on which an observable has its noise."""
    if observable.scale == "lin":
        return expression
    return Operation("ln" if observable.scale == "log" else "log10", (expression,))


def numbers_on_scale(observable: Observable, values: Floats) -> Floats:
    """Return numbers on the scale on which an observable has its noise."""
    if observable.scale == "lin":
        return values
    result: Floats = np.log(values) if observable.scale == "log" else np.log10(values)
    return result
