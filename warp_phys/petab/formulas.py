"""Formulas: from libsbml's syntax trees to expressions.

Formulas of PEtab tables are parsed by libsbml, too. No text of a file is ever run as code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from warp_phys.petab.expressions import TIME, Expression, Name, Number, Operation
from warp_phys.petab.libraries import libsbml
from warp_phys.systems.errors import UnsupportedError, UsageError

# Avogadro's number, exact by the definition of the mole.
_AVOGADRO = 6.02214076e23

# libsbml's constant AST_<key> -> operation.
_OPERATIONS = {
    "PLUS": "plus",
    "TIMES": "times",
    "DIVIDE": "divide",
    "POWER": "power",
    "FUNCTION_POWER": "power",
    "FUNCTION_PIECEWISE": "piecewise",
    "LOGICAL_AND": "and",
    "LOGICAL_OR": "or",
    "LOGICAL_XOR": "xor",
    "LOGICAL_NOT": "not",
    "RELATIONAL_EQ": "eq",
    "RELATIONAL_NEQ": "ne",
    "RELATIONAL_LT": "lt",
    "RELATIONAL_LEQ": "le",
    "RELATIONAL_GT": "gt",
    "RELATIONAL_GEQ": "ge",
    "FUNCTION_ABS": "abs",
    "FUNCTION_ARCCOS": "acos",
    "FUNCTION_ARCCOSH": "acosh",
    "FUNCTION_ARCSIN": "asin",
    "FUNCTION_ARCSINH": "asinh",
    "FUNCTION_ARCTAN": "atan",
    "FUNCTION_ARCTANH": "atanh",
    "FUNCTION_CEILING": "ceil",
    "FUNCTION_COS": "cos",
    "FUNCTION_COSH": "cosh",
    "FUNCTION_EXP": "exp",
    "FUNCTION_FLOOR": "floor",
    "FUNCTION_LN": "ln",
    "FUNCTION_MAX": "max",
    "FUNCTION_MIN": "min",
    "FUNCTION_SIN": "sin",
    "FUNCTION_SINH": "sinh",
    "FUNCTION_TAN": "tan",
    "FUNCTION_TANH": "tanh",
}


class Formulas:
    """Converts syntax trees, with the function definitions of a model written out.

    Args:
        functions: Syntax trees of the model's function definitions (lambdas) by identifier.
    """

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions

    def convert(
        self, node: Any, where: str, bound: Mapping[str, Expression] | None = None
    ) -> Expression:
        """Return the expression of a syntax tree.

        Args:
            node: The tree.
            where: What the formula is, for messages.
            bound: Expressions that replace names: arguments of functions, local parameters.

        Raises:
            UnsupportedError: An operation is not supported.
        """
        bound = bound or {}
        name = _names().get(node.getType())
        if name is None:
            raise UnsupportedError(f"{where} uses {_words(node)}, which is not supported")
        if name == "NAME":
            return bound.get(node.getName(), Name(node.getName()))
        if name in _LEAVES:
            return _leaf(name, node)
        if name == "FUNCTION":
            return self._call(node, where, bound)
        parts = tuple(
            self.convert(node.getChild(place), where, bound)
            for place in range(node.getNumChildren())
        )
        return _operation(name, parts)

    def _call(self, node: Any, where: str, bound: Mapping[str, Expression]) -> Expression:
        """Return the body of a function definition with the arguments in place."""
        definition = self._functions.get(node.getName())
        count = node.getNumChildren()
        if definition is None or definition.getNumChildren() != count + 1:
            raise UnsupportedError(
                f"{where} calls {node.getName()!r} with {count} arguments; the model defines no "
                "such function, and it is not one of the supported mathematical functions"
            )
        given = {
            definition.getChild(place).getName(): self.convert(node.getChild(place), where, bound)
            for place in range(count)
        }
        return self.convert(definition.getChild(count), where, given)


def parse_formula(text: str, where: str, formulas: Formulas, model: Any) -> Expression:
    """Return the expression of a formula of a PEtab table.

    Args:
        text: The formula, such as "scale * (A + B) + offset".
        where: What the formula is, for messages.
        formulas: Converts the syntax tree.
        model: libsbml's model: its identifiers come before the names of constants.

    Raises:
        UsageError: The text is no formula.
        UnsupportedError: An operation is not supported.
    """
    library = libsbml()
    settings = library.L3ParserSettings()
    settings.setModel(model)
    # In PEtab, log is the natural logarithm, and names are case-sensitive.
    settings.setParseLog(library.L3P_PARSE_LOG_AS_LN)
    settings.setComparisonCaseSensitivity(library.L3P_COMPARE_BUILTINS_CASE_SENSITIVE)
    node = library.parseL3FormulaWithSettings(text.replace("**", "^"), settings)
    if node is None:
        reason = " ".join(library.getLastParseL3Error().split())
        raise UsageError(f"expected {where} as a formula, received {text!r}: {reason}")
    return formulas.convert(node, where)


_LEAVES = {
    "INTEGER",
    "REAL",
    "REAL_E",
    "RATIONAL",
    "NAME_TIME",
    "NAME_AVOGADRO",
    "CONSTANT_E",
    "CONSTANT_PI",
    "CONSTANT_TRUE",
    "CONSTANT_FALSE",
}
_SPECIAL = {"NAME", "FUNCTION", "MINUS", "FUNCTION_LOG", "FUNCTION_ROOT"}


@lru_cache(maxsize=1)
def _names() -> dict[int, str]:
    """Return the names of the supported node types, by libsbml's number."""
    library = libsbml()
    return {getattr(library, f"AST_{name}"): name for name in (*_OPERATIONS, *_LEAVES, *_SPECIAL)}


def _leaf(name: str, node: Any) -> Expression:
    if name == "NAME_TIME":
        return TIME
    known = {
        "NAME_AVOGADRO": _AVOGADRO,
        "CONSTANT_E": math.e,
        "CONSTANT_PI": math.pi,
        "CONSTANT_TRUE": 1.0,
        "CONSTANT_FALSE": 0.0,
    }
    return Number(known[name] if name in known else float(node.getValue()))


def _operation(name: str, parts: tuple[Expression, ...]) -> Expression:
    if name == "MINUS":
        return Operation("minus" if len(parts) == 2 else "negative", parts)
    if name == "FUNCTION_LOG":
        base, argument = parts if len(parts) == 2 else (Number(10.0), parts[0])
        if base == Number(10.0):
            return Operation("log10", (argument,))
        return Operation("divide", (Operation("ln", (argument,)), Operation("ln", (base,))))
    if name == "FUNCTION_ROOT":
        degree, argument = parts if len(parts) == 2 else (Number(2.0), parts[0])
        if degree == Number(2.0):
            return Operation("sqrt", (argument,))
        return Operation("power", (argument, Operation("divide", (Number(1.0), degree))))
    if name in ("PLUS", "TIMES") and len(parts) < 2:
        return parts[0] if parts else Number(0.0 if name == "PLUS" else 1.0)
    return Operation(_OPERATIONS[name], parts)


def _words(node: Any) -> str:
    library = libsbml()
    if node.getType() == library.AST_FUNCTION_DELAY:
        return "a delay"
    text = library.formulaToL3String(node) or node.getName() or "an unknown operation"
    return f"the expression {text!r}"
