"""The command line `warp-phys`: finds the verbs and runs one.

Verbs are the files of `verbs/` and the entry points of the group `warp_phys.verbs` that other
installed packages declare. Nothing heavy is imported before a verb runs, so that help answers at
once.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points

import typer

from warp_phys.command_line import verbs
from warp_phys.systems.errors import WarpPhysError

ENTRY_POINTS = "warp_phys.verbs"


def verb_functions() -> dict[str, Callable[..., None]]:
    """Return the verbs by name, those of this package first.

    A file `verbs/NAME.py` holds the function `NAME`. A verb of another package that cannot be
    imported, or has the name of one that is there, is left out with a warning.
    """
    names = [module.name for module in pkgutil.iter_modules(verbs.__path__)]
    found: dict[str, Callable[..., None]] = {
        name: getattr(importlib.import_module(f"{verbs.__name__}.{name}"), name) for name in names
    }
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in found:
            _warn_left_out(point, "there is a verb of that name already")
            continue
        try:
            found[point.name] = point.load()
        except (ImportError, AttributeError) as error:
            _warn_left_out(point, str(error))
    return found


def _warn_left_out(point: EntryPoint, why: str) -> None:
    typer.echo(f"warning: the verb {point.name} of {point.value} is left out: {why}", err=True)


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
