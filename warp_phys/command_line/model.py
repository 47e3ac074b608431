"""The model of `estimate` and `forecast`: a file, or the untrained information head of a system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import warp_phys as wp
from warp_phys.command_line.options import (
    DISTRIBUTION,
    FIXED,
    INITIAL_STATE,
    LOSS,
    NOISE_SD,
    PRIORS,
    Option,
)
from warp_phys.command_line.values import parse_numbers, parse_recipes, parse_word_or_numbers
from warp_phys.systems.errors import UsageError

_WORD_OR_NUMBERS = partial(parse_word_or_numbers, default=None)

# The options of `WarpPhys` with the information head. None: the head's own default.
INFORMATION = (
    replace(PRIORS, read=parse_recipes),
    Option(
        "drift",
        "Size of the random walk of a parameter that changes, in its unconstrained coordinate, "
        "for each square root of the time unit. Repeatable.",
        "NAME=NUMBER",
        repeatable=True,
        read=parse_numbers,
    ),
    replace(INITIAL_STATE, read=_WORD_OR_NUMBERS),
    FIXED,
    replace(DISTRIBUTION, help=f"{DISTRIBUTION.help} By default normal.", default=None),
    replace(NOISE_SD, read=_WORD_OR_NUMBERS),
    replace(LOSS, help=f"{LOSS.help} By default linear.", default=None),
)


def is_file(model: str) -> bool:
    """Return whether a text names a file and not a system: it has a suffix or a folder.

    Example:
        >>> is_file("model.safetensors"), is_file("lotka_volterra")
        (True, False)
    """
    path = Path(model)
    return bool(path.suffix) or len(path.parts) > 1


def model_of(model: str, options: Mapping[str, Any]) -> wp.WarpPhys:
    """Return the model of a file, or the information head of a system with its options.

    Args:
        model: Name of a file (.safetensors), or of a system.
        options: Values of the options `INFORMATION` by name, None where not given.

    Raises:
        UsageError: An option is given with a file, or does not suit the system.
    """
    if not is_file(model):
        return wp.WarpPhys(model, **options)
    check_no_options(model, options)
    return wp.WarpPhys.load(model)


def check_no_options(model: str, options: Mapping[str, Any]) -> None:
    """Raise UsageError where an option of the information head is given with a file."""
    for option in INFORMATION:
        if options[option.name] is not None:
            raise UsageError(
                f"expected no {option.flag} with {Path(model).name}, which holds what was chosen "
                "when it was made; leave it out, or give the name of a system in place of the file"
            )
