"""Parameters that follow from others by an expression, and their derivatives."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.namespace import Namespace
from warp_phys.systems.model.supports import contains
from warp_phys.systems.model.system import System

Tie = Callable[[Any], Any]

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "abs": torch.abs,
}
_OPERATIONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: lambda a, b: a**b,
    ast.USub: lambda a: -a,
    ast.UAdd: lambda a: a,
}


@dataclass(frozen=True)
class Ties:
    """Parameters of a system that are functions of the others.

    Attributes:
        system: The system.
        names: The tied parameters, in the order in which they are computed.
        functions: A function of the parameters by name for each.
    """

    system: System
    names: tuple[str, ...]
    functions: tuple[Tie, ...]

    @property
    def places(self) -> list[int]:
        """Positions of the tied parameters among all parameters."""
        return [self.system.parameter_names.index(name) for name in self.names]

    def applied(self, parameters: Tensor) -> Tensor:
        """Return parameters (n, P) with the tied ones computed, NaN where off their support."""
        columns = list(parameters.unbind(1))
        for name, place, function in zip(self.names, self.places, self.functions, strict=True):
            space = Namespace(self.system.name, self.system.parameter_names, columns)
            value = torch.as_tensor(function(space), dtype=parameters.dtype)
            try:
                value = value.expand(len(parameters))
            except RuntimeError:
                raise UsageError(
                    f"expected ties[{name!r}] to return one value for each of the "
                    f"{len(parameters)} values of a parameter, got shape {tuple(value.shape)}"
                ) from None
            support = self.system.parameters[place].support
            columns[place] = torch.where(contains(value, support), value, torch.nan)
        return torch.stack(columns, dim=1)

    def slopes(self, parameters: Tensor) -> Tensor:
        """Return the derivatives (n, P, P) of all parameters by those that are not tied."""
        rows = []
        tied = self.places
        for place in range(parameters.shape[1]):
            along = torch.zeros_like(parameters)
            if place not in tied:
                along[:, place] = 1.0
            rows.append(torch.func.jvp(self.applied, (parameters,), (along,))[1])
        return torch.stack(rows, dim=2)


def read_ties(system: System, ties: Mapping[str, Any] | None, taken: Mapping[str, str]) -> Ties:
    """Return the ties of a fit, checked.

    Args:
        system: The system.
        ties: An expression or a function of the parameters by name for each tied parameter.
        taken: Why a parameter cannot be tied, by name.

    Raises:
        UsageError: An expression cannot be read, or a tied parameter is fixed, bounded or shared.
        UnknownNameError: A parameter does not exist.
    """
    if ties is not None and not isinstance(ties, Mapping):
        raise UsageError(
            f"expected ties as a mapping from parameter to expression or function, got {ties!r}"
        )
    given = dict(ties or {})
    for name in given:
        if name not in system.parameter_names:
            raise unknown_name(f"parameter of {system.name}", name, system.parameter_names)
        if name in taken:
            raise UsageError(
                f"parameter {name!r} is tied and cannot be {taken[name]}; leave out one"
            )
    functions = []
    order = list(given)
    for place, (name, tie) in enumerate(given.items()):
        if not isinstance(tie, str) and not callable(tie):
            raise UsageError(
                f"expected ties[{name!r}] as an expression like '2 * k1' or a function of the "
                f"parameters, got {tie!r}"
            )
        later = order[place:]
        functions.append(_expression(system, name, tie, later) if isinstance(tie, str) else tie)
    return Ties(system, tuple(given), tuple(functions))


def _expression(system: System, name: str, text: str, later: Sequence[str]) -> Tie:
    """Return an expression as a function of the parameters by name."""
    where = f"ties[{name!r}] = {text!r}"
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise UsageError(f"{where} is no expression; write one like '2 * k1'") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in _FUNCTIONS:
            if node.id not in system.parameter_names:
                raise unknown_name(f"name in {where}", node.id, system.parameter_names)
            if node.id in later:
                raise UsageError(
                    f"{where} needs {node.id}, which is tied itself; a tie may only use parameters "
                    "whose own ties come before it"
                )
    _value(tree, Namespace(system.name, system.parameter_names, _ones(system)), where)
    return lambda p: _value(tree, p, where)


def _ones(system: System) -> list[Tensor]:
    return [torch.ones(1, dtype=torch.float64) for _ in system.parameters]


def _value(node: ast.AST, p: Any, where: str) -> Any:
    """Return the value of an expression, of which only arithmetic is allowed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return torch.tensor(float(node.value), dtype=torch.float64)
    if isinstance(node, ast.Name):
        return getattr(p, node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_value(node.left, p, where), _value(node.right, p, where))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_value(node.operand, p, where))
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and len(node.args) == 1
        and not node.keywords
    ):
        return _FUNCTIONS[node.func.id](_value(node.args[0], p, where))
    raise UsageError(
        f"{where} has {ast.unparse(node)!r}, which is not arithmetic; use numbers, parameters, "
        f"+ - * / ** and {', '.join(_FUNCTIONS)}, or a Python function of the parameters"
    )
