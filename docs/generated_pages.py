"""Tables that the package itself knows best, written at every build of the documentation."""

import inspect
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from warp_phys.command_line.main import verb_functions
from warp_phys.models.drives.registry import DRIVES
from warp_phys.models.heads.registry import HEADS
from warp_phys.recurrence.transitions.registry import STRUCTURES
from warp_phys.systems import System, get_system, noise_names
from warp_phys.systems.catalog.registry import SHIPPED
from warp_phys.systems.noise.registry import noise_class
from warp_phys.systems.schema.flags import Flags
from warp_phys.systems.schema.variables import FITTED, QUANTITIES, SCHEMA_VERSION, SIMULATED


def write_pages(folder: Path) -> None:
    """Write the generated parts of pages into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "schema.md").write_text(_schema())
    (folder / "systems.md").write_text(_systems())
    (folder / "noise.md").write_text(_noise())
    (folder / "parts.md").write_text(_parts())
    (folder / "command_line.md").write_text(_command_line())


def _schema() -> str:
    lines = [
        f"Schema version {SCHEMA_VERSION}.",
        "",
        "| variable | dimensions | what it is |",
        "|---|---|---|",
    ]
    for name, quantity in QUANTITIES.items():
        layouts = " or ".join(f"({', '.join(layout)})" for layout in quantity.layouts)
        lines.append(f"| `{name}` | {layouts} | {quantity.long_name} |")
    flagged = {
        "`status` of simulated data sets": SIMULATED["status"],
        "`status` of fits": FITTED["status"],
        **{f"`{name}`": quantity for name, quantity in QUANTITIES.items()},
    }
    for title, quantity in flagged.items():
        if quantity.flags is not None:
            lines += _flags(title, quantity.flags)
    return "\n".join(lines) + "\n"


def _flags(title: str, flags: Flags) -> list[str]:
    kind = "bits" if flags.bits else "codes"
    meanings = [f"- {code}: {meaning}" for code, meaning in flags.meanings.items()]
    return ["", f"The {kind} of {title}:", "", *meanings]


def _systems() -> str:
    """Return the catalog by field: a table of what there is, and the reference of each class."""
    parts = []
    for field, entries in groupby(SHIPPED.values(), key=lambda entry: entry.field):
        names = [entry.name for entry in entries]
        parts += [
            f"### {field.capitalize()}",
            "",
            "| system | states | parameters |",
            "|---|---|---|",
        ]
        parts += [_row(get_system(name)) for name in names]
        parts += ["", "```{eval-rst}", ".. currentmodule:: warp_phys.systems", ""]
        parts += [f".. autoclass:: {SHIPPED[name].class_name}" for name in names]
        parts += ["```", ""]
    return "\n".join(parts)


def _row(system: System) -> str:
    """Return the line of a system in the table of its field."""
    title = type(system).__name__
    states = ", ".join(entry.name for entry in system.states)
    if not system.observes_all_states:
        states += f"; observed: {', '.join(system.output_names)}"
    parameters = ", ".join(
        entry.name if entry.fixed is None else f"{entry.name} (fixed at {entry.fixed:g})"
        for entry in system.parameters
    )
    return f"| {{class}}`~warp_phys.systems.{title}` | {states} | {parameters} |"


def _noise() -> str:
    """Return the noise models of the package, with their formulas."""
    parts = []
    for name in noise_names():
        found = noise_class(name)
        parts += [f"### `{name}`", "", "```{eval-rst}"]
        parts += [f".. autoclass:: {found.__module__}.{found.__name__}", "```", ""]
    return "\n".join(parts)


def _parts() -> str:
    """Return the drives, heads and structures of the package by name, and what each of them is."""
    lines = []
    for title, shipped in (("Drives", DRIVES), ("Heads", HEADS), ("Structures", STRUCTURES)):
        lines += [f"### {title}", "", "| name | what it is |", "|---|---|"]
        for name, part in shipped.items():
            first = " ".join((inspect.getdoc(part) or "").split("\n\n")[0].split())
            lines.append(f"| `{name}` | {first} |".replace("_{", "\\_{"))
        lines.append("")
    return "\n".join(lines)


def _command_line() -> str:
    return "\n".join(
        f"## {verb}\n\n```text\n{_help(verb)}\n```\n" if verb else f"```text\n{_help()}\n```\n"
        for verb in ("", *verb_functions())
    )


def _help(*verb: str) -> str:
    code = "from warp_phys.command_line.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *verb, "--help"], check=True, capture_output=True, text=True
    ).stdout.strip()
