"""`warp-phys systems`: the catalog of systems."""

from __future__ import annotations

import typer

from warp_phys.command_line.options import Option, verb


@verb(Option("name", "Describe this system only.", "NAME", positional=True))
def systems(name: str | None) -> None:
    """List the systems that come with the package, or describe one."""
    from warp_phys.command_line.report import systems_table
    from warp_phys.systems import get_system

    typer.echo(systems_table() if name is None else get_system(name).describe())
