"""The YAML file of a problem: which files belong to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from warp_phys.petab.checks import check_problems
from warp_phys.petab.libraries import yaml
from warp_phys.systems.errors import SchemaError, UnsupportedError


def problem_files(path: Path) -> dict[str, list[str]]:
    """Return the names of the files of each kind."""
    library = yaml()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        # The safe loader makes numbers, texts, lists and mappings, never objects.
        loaded = library.safe_load(path.read_text(encoding="utf-8"))
    except (library.YAMLError, UnicodeDecodeError) as error:
        raise SchemaError(f"{path.name} is not YAML: {error}") from None
    content: Any = check_problems(loaded, path.name)
    version = str(content.get("format_version", "1"))
    if version.split(".")[0] != "1":
        raise UnsupportedError(f"{path.name} is PEtab version {version}; version 1 is supported")
    problems = content["problems"]
    if len(problems) != 1:
        raise UnsupportedError(f"{path.name} has more than one problem; one is supported")
    files = {"parameter": _listed(content.get("parameter_file"))} | {
        kind: _listed(problems[0].get(f"{key}_files"))
        for kind, key in (
            ("condition", "condition"),
            ("observable", "observable"),
            ("measurement", "measurement"),
            ("model", "sbml"),
        )
    }
    for kind, names in files.items():
        if not names:
            raise SchemaError(f"{path.name} names no {kind} file")
    if len(files["model"]) > 1:
        raise UnsupportedError(f"{path.name} has {len(files['model'])} models; one is supported")
    return files


def _listed(entry: Any) -> list[str]:
    if entry is None:
        return []
    return [str(name) for name in entry] if isinstance(entry, list) else [str(entry)]
