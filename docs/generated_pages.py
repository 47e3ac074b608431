"""Tables that the package itself knows best, written at every build of the documentation."""

import subprocess
import sys
from pathlib import Path

from warp_phys.systems import get_system, system_names
from warp_phys.systems.schema.flags import Flags
from warp_phys.systems.schema.variables import FITTED, QUANTITIES, SCHEMA_VERSION, SIMULATED

_VERBS = ("systems", "simulate", "train", "estimate", "fit", "forecast", "plot")


def write_pages(folder: Path) -> None:
    """Write the generated parts of pages into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "schema.md").write_text(_schema())
    (folder / "systems.md").write_text(_systems())
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
    return "\n".join(f"```text\n{get_system(name)!r}\n```\n" for name in system_names())


def _command_line() -> str:
    return "\n".join(
        f"## {verb}\n\n```text\n{_help(verb)}\n```\n" if verb else f"```text\n{_help()}\n```\n"
        for verb in ("", *_VERBS)
    )


def _help(*verb: str) -> str:
    code = "from warp_phys.command_line.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *verb, "--help"], check=True, capture_output=True, text=True
    ).stdout.strip()
