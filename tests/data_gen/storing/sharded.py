"""Small sharded data sets for the tests, and what is in their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from warp_phys.data_gen import simulate
from warp_phys.data_gen.storing.identity import canonical
from warp_phys.data_gen.storing.manifest import Manifest, new_manifest

TIMES = np.arange(5.0)
OPTIONS: dict[str, Any] = {"noise": 0.1, "missing": 0.2, "seed": 7, "progress": False}


def make(folder: Path, n: int = 50, **options: Any) -> Any:
    """Make, or finish, a data set of a few shards in a folder."""
    return simulate(
        "damped_oscillator", n, TIMES, **(OPTIONS | {"output": folder, "shard_size": 10} | options)
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def lose(folder: Path, *numbers: int) -> None:
    """Take shards away, as if they had not been made yet."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for number in numbers:
        shard = manifest["shards"][number]
        (folder / shard["file"]).unlink()
        shard |= {"size": 0, "sha256": "", "status": None}
    path.write_text(json.dumps(manifest))


def some_manifest(n: int = 10, shard_size: int = 4) -> Manifest:
    """Return a manifest of shards that nobody has made."""
    return new_manifest(canonical({"n": n, "shard_size": shard_size, "seed": 1}))
