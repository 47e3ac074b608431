"""What an option of the command line is, declared once, and the options that several verbs share.

A verb lists its options, `@verb(SYSTEM, RECORD, ...)`; the shell, its help and the reference page
of the documentation are made from that list.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any

import typer

from warp_phys.command_line.values import (
    parse_numbers,
    parse_renames,
    parse_times,
    parse_word_or_numbers,
)
from warp_phys.systems import noise_names

REQUIRED: Any = inspect.Parameter.empty
"""The default of an option that must be given."""


def as_received(_flag: str, value: Any) -> Any:
    """Return a value as the shell gave it."""
    return value


@dataclass(frozen=True)
class Option:
    """One option or positional argument of a verb.

    Attributes:
        name: The keyword under which the verb receives it; where the verb passes it to a public
            function, the keyword of that function.
        help: One sentence or more, for `--help`.
        takes: What follows the flag, in capitals; "" for a flag alone.
        flags: Its flags; by default `--name`, with dashes for underscores.
        type: What the shell converts the text to.
        default: The value where it is not given; `REQUIRED` if it must be.
        repeatable: Whether it may be given several times; `read` then receives a list.
        positional: Whether it is a positional argument, without a flag.
        read: Called with the first flag (for messages) and the value (or list, or default);
            returns what the verb receives.
    """

    name: str
    help: str
    takes: str = ""
    flags: tuple[str, ...] = ()
    type: Any = str
    default: Any = None
    repeatable: bool = False
    positional: bool = False
    read: Callable[[str, Any], Any] = as_received

    @property
    def flag(self) -> str:
        """The flag by which messages name it."""
        return (*self.flags, f"--{self.name.replace('_', '-')}")[0]

    def value(self, received: Any) -> Any:
        """Return what the verb receives where the shell gives `received`."""
        return self.read(self.flag, (received or []) if self.repeatable else received)

    def parameter(self) -> inspect.Parameter:
        """Return it as a parameter with the annotation that typer reads."""
        kind = GenericAlias(list, (self.type,)) if self.repeatable else self.type
        annotation = kind | None if self.default is None else kind
        info = (
            typer.Argument(metavar=self.takes, help=self.help)
            if self.positional
            else typer.Option(
                *(self.flags or (self.flag,)), metavar=self.takes or None, help=self.help
            )
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=self.default,
            annotation=Annotated[annotation, info],
        )


def verb(*options: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a verb of the command line from a function and the options it takes.

    The function receives each option under its name; options that it only passes on it can
    collect with `**settings`. Its docstring is the verb's help.

    Example:
        >>> @verb(Option("times", "How often.", "NUMBER", type=int, default=1))
        ... def greet(times: int) -> None:
        ...     print(*["hello"] * times)
        >>> greet(times=2)
        hello hello
        >>> [option.flag for option in greet.options]
        ['--times']
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**received: Any) -> None:
            function(**{option.name: option.value(received[option.name]) for option in options})

        parameters = [option.parameter() for option in options]
        # typer reads the signature and, for the types, the annotations.
        del run.__wrapped__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {entry.name: entry.annotation for entry in parameters}
        run.options = options  # type: ignore[attr-defined]
        return run

    return decorate


def read_times(_flag: str, text: str | None) -> list[float] | None:
    """Return the sample times of a text; None where none were given."""
    return None if text is None else parse_times(text)


GRID = "START:STOP:STEP, with STOP included, or a list such as 0,1,2.5"

# Options of several verbs.
SYSTEM = Option(
    "system",
    "Name of a system; `warp-phys systems` lists them.",
    "SYSTEM",
    default=REQUIRED,
    positional=True,
)
RECORD = Option(
    "record",
    "File with trajectories: .csv, .nc or .h5.",
    "RECORD",
    type=Path,
    default=REQUIRED,
    positional=True,
)
DATA_OUTPUT = Option(
    "output",
    "NetCDF file to write (.nc).",
    "FILE",
    ("--output", "-o"),
    type=Path,
    default=REQUIRED,
)
MAYBE_DATA_OUTPUT = Option(
    "output", "NetCDF file to write (.nc).", "FILE", ("--output", "-o"), type=Path
)
OVERWRITE = Option("overwrite", "Replace existing output files.", type=bool, default=False)
LEVEL = Option(
    "level", "Probability that a band holds the true value.", "SHARE", type=float, default=0.9
)
SEED = Option("seed", "Seed for all random numbers.", "NUMBER", type=int, default=0)
TIME_BUDGET = Option("time_budget", "Stop after this many seconds.", "SECONDS", type=float)
DISTRIBUTION = Option(
    "distribution",
    f"Noise model: {', '.join(noise_names())}.",
    "NAME",
    default="normal",
)
INITIAL_STATE = Option(
    "initial_state",
    "auto (the default: what the data set knows, else estimated), first_sample or estimate; "
    "or STATE=NUMBER for each known state, repeatable.",
    "KIND",
    repeatable=True,
    read=functools.partial(parse_word_or_numbers, default="auto"),
)
FIXED = Option(
    "fixed",
    "A known parameter. Repeatable.",
    "NAME=NUMBER",
    ("--fix", "--fixed"),
    repeatable=True,
    read=parse_numbers,
)
NOISE_SD = Option(
    "noise_sd",
    "each (the default: an unknown level for each output) or common; or OUTPUT=NUMBER for "
    "each known level, repeatable.",
    "LEVEL",
    repeatable=True,
    read=functools.partial(parse_word_or_numbers, default="each"),
)
LOSS = Option(
    "loss", "linear, or huber, which gives outliers less weight.", "NAME", default="linear"
)
RECIPE = (
    "a range 0.5:2.0, lognormal(median,sigma), normal(mean,sd), truncated_normal(mean,sd[,low,"
    "high]), uniform(low,high) or loguniform(low,high). Repeatable; by default the system's own "
    "ranges."
)

PRIORS = Option(
    "priors",
    "Prior of a parameter, an initial state such as 'prey(0)', or a noise level, noise_sd or "
    f"'noise_sd(prey)'; RECIPE: {RECIPE}",
    "NAME=RECIPE",
    ("--prior",),
    repeatable=True,
)

# How the columns of a record are called.
TIME_COLUMN = Option("time", "Column with the sample times.", "COLUMN", default="time")
TRAJECTORY_COLUMN = Option(
    "trajectory",
    "Column that tells trajectories apart; by default 'trajectory', where there is one.",
    "COLUMN",
)
RENAMES = Option(
    "rename",
    "The output that a column of another name holds; COLUMN= ignores the column. Repeatable.",
    "COLUMN=OUTPUT",
    repeatable=True,
    read=parse_renames,
)
COLUMNS = (TIME_COLUMN, TRAJECTORY_COLUMN, RENAMES)
