"""Which ends of intervals are searched, and the lanes that this takes, in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.fitting.setting import LANES
from warp_phys.likelihood.problem import FitProblem


@dataclass(frozen=True)
class Searched:
    """C ends, each an unknown of a trajectory with a side, and the L lanes that they take.

    Attributes:
        rows: (C,), the trajectory of each; for a shared unknown, any one of its group.
        columns: (C,), the unknown.
        sides: (C,), -1 for the lower end and 1 for the upper one.
        lanes: (L,), the trajectories of the group of each end, end after end.
        copy: (L,), the end that each lane belongs to.
    """

    rows: Tensor
    columns: Tensor
    sides: Tensor
    lanes: Tensor
    copy: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, chosen: Tensor) -> tuple[Searched, Tensor]:
        """Return some ends (in ascending order) and the numbers of their lanes."""
        number = torch.full((len(self),), -1)
        number[chosen] = torch.arange(len(chosen))
        mine = (number[self.copy] >= 0).nonzero()[:, 0]
        rows, columns, sides = self.rows[chosen], self.columns[chosen], self.sides[chosen]
        return Searched(rows, columns, sides, self.lanes[mine], number[self.copy[mine]]), mine

    def held(self, shared: int, size: int) -> Tensor:
        """Return (L, D): whether an unknown of a lane is the one whose end is searched."""
        columns = self.columns[self.copy]
        mine = (self.lanes == self.rows[self.copy]) | (columns < shared)
        return torch.nn.functional.one_hot(columns, size).bool() & mine.unsqueeze(1)

    def pooled(self, values: Tensor) -> Tensor:
        """Sum (L,) over the lanes of each end."""
        return values.new_zeros(len(self)).index_add_(0, self.copy, values)


def searched(problem: FitProblem, chosen: Tensor, converged: Tensor) -> Iterator[Searched]:
    """Yield both ends of the chosen unknowns, block by block.

    Args:
        problem: The problem that was fitted.
        chosen: (N, D), the unknowns; a shared one is searched once for each group.
        converged: (N,), the trajectories that take part in the fits of their groups.
    """
    shared = problem.unknowns.shared
    rows, columns = chosen.nonzero().T
    if shared:
        # Of a shared unknown, the first trajectory of its group stands for all.
        key = torch.stack([torch.where(columns < shared, problem.group[rows], -1 - rows), columns])
        _, kind = torch.unique(key, dim=1, return_inverse=True)
        first = torch.full((int(kind.max()) + 1,), len(rows)) if len(kind) else kind
        first.scatter_reduce_(0, kind, torch.arange(len(rows)), "amin")
        first = first.sort().values
        rows, columns = rows[first], columns[first]
    sides = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat_interleave(len(rows))
    rows, columns = rows.repeat(2), columns.repeat(2)
    if not shared:
        for part in torch.arange(len(rows)).split(LANES):
            every = torch.arange(len(part))
            yield Searched(rows[part], columns[part], sides[part], rows[part], every)
        return
    members = [
        (converged & (problem.group == group)).nonzero()[:, 0]
        for group in range(int(problem.group.max()) + 1)
    ]
    sizes = torch.tensor([len(group) for group in members])[problem.group[rows]]
    block = (sizes.cumsum(0) - 1) // LANES
    for number in block.unique():
        part = (block == number).nonzero()[:, 0]
        lanes = torch.cat([members[group] for group in problem.group[rows[part]].tolist()])
        copy = torch.arange(len(part)).repeat_interleave(sizes[part])
        yield Searched(rows[part], columns[part], sides[part], lanes, copy)
