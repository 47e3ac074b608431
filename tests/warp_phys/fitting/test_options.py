"""The options of `fit` are those of its signature."""

from dataclasses import fields
from inspect import signature

from warp_phys.fitting.fit import fit
from warp_phys.fitting.options import FitOptions


def test_every_argument_is_an_option() -> None:
    options = {field.name for field in fields(FitOptions)}
    assert set(signature(fit).parameters) == {"system", "data"} | options


def test_starts_by_default() -> None:
    defaults = {name: one.default for name, one in signature(fit).parameters.items()}
    assert FitOptions.from_arguments(defaults).starts is None
