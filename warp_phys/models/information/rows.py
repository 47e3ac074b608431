"""Dataclasses of tensors that are indexed by records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Self

import torch
from torch import Tensor


class Rows:
    """A dataclass whose fields are tensors with the record as their first dimension, or `Rows`."""

    def select(self, rows: Tensor) -> Self:
        """Return some of the records."""
        return self._made(lambda part: part.select(rows) if isinstance(part, Rows) else part[rows])

    def replaced(self, rows: Tensor, other: Self) -> Self:
        """Return a copy in which the records `rows` are those of `other`, in order."""

        def mixed(mine: Any, theirs: Any) -> Any:
            if isinstance(mine, Rows):
                return mine.replaced(rows, theirs)
            copy = mine.clone()
            copy[rows] = theirs
            return copy

        return self._made(mixed, other)

    @classmethod
    def joined(cls, pieces: Sequence[Self]) -> Self:
        """Return the records of several pieces, in order."""
        first, *rest = pieces
        if not rest:
            return first

        def together(*parts: Any) -> Any:
            one = parts[0]
            return type(one).joined(parts) if isinstance(one, Rows) else torch.cat(parts)

        return first._made(together, *rest)

    def flat(self, prefix: str) -> dict[str, Tensor]:
        """Return all tensors by names such as `prefix.field.field`."""
        found: dict[str, Tensor] = {}
        for field in fields(self):  # type: ignore[arg-type]
            part, name = getattr(self, field.name), f"{prefix}.{field.name}"
            if part is not None:
                found |= part.flat(name) if isinstance(part, Rows) else {name: part}
        return found

    def from_flat(self, prefix: str, tensors: Mapping[str, Tensor]) -> Self:
        """Return an object of the same structure with the tensors that `flat` returned."""
        parts: list[Any] = []
        for field in fields(self):  # type: ignore[arg-type]
            part, name = getattr(self, field.name), f"{prefix}.{field.name}"
            if part is None:
                parts.append(None)
            else:
                rows = isinstance(part, Rows)
                parts.append(part.from_flat(name, tensors) if rows else tensors[name])
        return type(self)(*parts)

    def _made(self, function: Any, *others: Self) -> Self:
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return type(self)(*(function(*(getattr(one, n) for one in (self, *others))) for n in names))
