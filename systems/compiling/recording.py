"""Records a function with torch.fx, and runs the record on expressions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from warp_phys.systems.compiling.aten import ATEN
from warp_phys.systems.compiling.expression import Expression
from warp_phys.systems.compiling.expression_arrays import array, constants
from warp_phys.systems.compiling.expressions import Expressions
from warp_phys.systems.errors import WarpPhysError

# Options about the place and layout of tensors in memory, which expressions do not have.
_PLACEMENT = ("device", "layout", "pin_memory", "memory_format", "non_blocking")
_NARROW = (torch.float16, torch.bfloat16, torch.float32)


class TracingError(WarpPhysError):
    """A function cannot be traced to expressions; the message tells why."""


def record(where: str, function: Callable[..., Any], point: Sequence[Tensor]) -> GraphModule:
    """Return torch's record of the operations of a function on tensors.

    Raises:
        TracingError: It cannot be recorded.
    """
    try:
        return make_fx(function)(*point)
    except Exception as error:  # whatever a user's function may raise where it cannot be recorded
        reason = str(error).strip().split("\n")[0]
        raise TracingError(f"{where} cannot be recorded: {reason}") from error


def on_expressions(
    where: str, expressions: Expressions, module: GraphModule, arguments: Sequence[np.ndarray]
) -> Any:
    """Return the result of a recorded function on arrays of expressions.

    Raises:
        TracingError: An operation is not known.
    """
    try:
        return _Interpreter(expressions, module).run(arguments)
    except _UnsupportedError as error:
        raise TracingError(f"{where}: {error}") from error


class _UnsupportedError(Exception):
    """An operation that expressions do not support."""


class _Interpreter:
    """Runs torch's record of a function on arrays of expressions."""

    def __init__(self, expressions: Expressions, module: GraphModule) -> None:
        self._expressions = expressions
        self._module = module
        self._values: dict[Node, Any] = {}

    def run(self, arguments: Sequence[np.ndarray]) -> Any:
        given = iter(arguments)
        for node in _needed(self._module):
            if node.op == "placeholder":
                self._values[node] = next(given)
            elif node.op == "get_attr":
                constant = getattr(self._module, str(node.target))
                self._values[node] = constants(self._expressions, constant.detach().cpu().numpy())
            elif node.op == "output":
                return self._resolve(node.args[0])
            else:
                self._values[node] = self._call(node)
        raise _UnsupportedError("the record has no output")

    def _resolve(self, value: Any) -> Any:
        return torch.fx.node.map_arg(value, self._values.__getitem__)

    def _call(self, node: Node) -> Any:
        arguments = self._resolve(node.args)
        if node.target is operator.getitem:
            return arguments[0][arguments[1]]
        name, in_place = _name(node)
        operation = ATEN.get(name)
        if operation is None:
            raise _UnsupportedError(f"{node.target} is not among the known operations")
        options = {key: value for key, value in node.kwargs.items() if key not in _PLACEMENT}
        try:
            result = operation(self._expressions, *arguments, **self._resolve(options))
            if isinstance(result, list):
                return [self._fit(part, None) for part in result]
            result = self._fit(result, node.meta.get("val"))
            if in_place:
                arguments[0][...] = result
                return arguments[0]
        except (ArithmeticError, LookupError, NotImplementedError, TypeError, ValueError) as error:
            raise _UnsupportedError(f"{node.target} cannot be written so: {error}") from error
        return result

    def _fit(self, result: Any, like: Any) -> np.ndarray:
        """Return the result in torch's dtype: constants in single precision are rounded to it.

        Expressions are float64. Rounding constants reproduces a literal that passes through
        float32; variables in less than float64 are refused.
        """
        values = array(self._expressions, result)
        dtype = getattr(like, "dtype", torch.float64)
        if dtype.is_complex:
            raise NotImplementedError("complex numbers")
        if dtype not in _NARROW:
            return values
        narrow = np.frompyfunc(lambda value: _rounded(value, dtype), 1, 1)
        return array(self._expressions, narrow(values))


def _rounded(value: Expression, dtype: torch.dtype) -> Expression:
    """Return a constant, or a choice between constants, rounded to a narrower dtype."""
    if value.is_mask:
        return value
    if value.is_switch:
        condition, *branches = value.arguments
        return value.owner.apply("select", condition, *(_rounded(x, dtype) for x in branches))
    if not value.is_constant:
        raise NotImplementedError(f"numbers of {dtype}, expected torch.float64")
    return value.owner.constant(float(torch.tensor(value.leaf, dtype=dtype)))


def _needed(module: GraphModule) -> list[Node]:
    """Return the nodes that the output depends on, and all nodes that write in place."""
    needed: set[Node] = set()
    for node in reversed(module.graph.nodes):
        writes = node.op == "call_function" and _name(node)[1]
        kept = writes or node.op in ("placeholder", "output")
        if kept or any(user in needed for user in node.users):
            needed.add(node)
    return [node for node in module.graph.nodes if node in needed]


def _name(node: Node) -> tuple[str, bool]:
    """Return an operation's name without namespace and overload, and whether it writes in place."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return getattr(node.target, "__name__", str(node.target)), False
    namespace, name = schema.name.split("::")
    in_place = schema.is_mutable and name.endswith("_")
    short = name.removesuffix("_") if in_place else name
    return short if namespace in ("aten", "prims") else schema.name, in_place
