"""The command line `warp-phys`: finds the verbs and runs one.

Verbs are the files of `verbs/` and the entry points of the group `warp_phys.verbs` that other
installed packages declare. Nothing heavy is imported before a verb runs, so that help answers at
once.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TypeAlias

import typer

from warp_phys.command_line import verbs
from warp_phys.systems.errors import WarpPhysError

ENTRY_POINTS = "warp_phys.verbs"

Verb: TypeAlias = Callable[..., None]
"""A function whose arguments are options of the command line."""


def verb_files() -> list[str]:
    """Return the names of the files in `verbs/`, each of which should hold the verb of its name."""
    return [module.name for module in pkgutil.iter_modules(verbs.__path__)]


def verb_in(name: str) -> Verb:
    """Return the verb that the file `verbs/NAME.py` holds, the function `NAME`.

    Raises:
        TypeError: It holds no such function, or one that `@verb` does not decorate.
    """
    function: Verb | None = getattr(importlib.import_module(f"{verbs.__name__}.{name}"), name, None)
    if function is None or not hasattr(function, "options"):
        raise TypeError(
            f"expected verbs/{name}.py to hold the function {name}, decorated by "
            f"@verb(...) of command_line/options.py; helpers belong outside of verbs/"
        )
    return function


def verb_functions() -> dict[str, Verb]:
    """Return the verbs by name, those of this package first.

    A verb that cannot be imported, that does not keep the contract of its folder, or that has the
    name of another one, is left out with a warning, and the others still run.
    """
    found: dict[str, Verb] = {}
    sources: list[tuple[str, str, Callable[[], Verb]]] = [
        (name, f"verbs/{name}.py", functools.partial(verb_in, name)) for name in verb_files()
    ]
    sources += [(point.name, point.value, point.load) for point in entry_points(group=ENTRY_POINTS)]
    for name, place, load in sources:
        if name in found:
            _warn_left_out(name, place, "there is a verb of that name already")
            continue
        try:
            found[name] = load()
        except Exception as error:  # whatever the code of somebody else's module raises
            _warn_left_out(name, place, f"{type(error).__name__}: {error}")
    return found


def _warn_left_out(name: str, place: str, why: str) -> None:
    typer.echo(f"warning: the verb {name} of {place} is left out: {why}", err=True)


def application() -> typer.Typer:
    """Return the command line with all its verbs."""
    app = typer.Typer(
        name="warp-phys",
        help="Parameters of known physics from trajectories, at every sample.",
        epilog="Start with: warp-phys simulate lotka_volterra -n 4096 --times 0:20:1 "
        "--noise 0.25 --distribution lognormal -o data.nc",
        no_args_is_help=True,
        # Plain text: drawing boxes would double the time to answer.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for name, function in verb_functions().items():
        app.command(name)(function)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the package's own errors print one line and exit with 2."""
    try:
        application()(args=None if arguments is None else list(arguments), prog_name="warp-phys")
    except (WarpPhysError, OSError) as error:
        # A library's own message inside may have several lines.
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
