"""The manifest of a sharded data set: its configuration, and which shards are complete."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from warp_phys.systems.errors import SchemaError
from warp_phys.systems.schema.atomic import write_atomic

FILE = "manifest.json"
SHARDS = "shard-*.nc"
FORMAT = 1


@dataclass(frozen=True)
class Shard:
    """One shard: trajectories `first` to `first + count` in one file.

    Attributes:
        file: Its name in the folder.
        first: Its first trajectory.
        count: Its number of trajectories.
        size: Bytes of the file; 0 while it is not done.
        sha256: Checksum of the file, in hexadecimal; empty while it is not done.
        status: How many trajectories ended in which way.
    """

    file: str
    first: int
    count: int
    size: int = 0
    sha256: str = ""
    status: Mapping[str, int] | None = None

    @property
    def done(self) -> bool:
        """Whether the file has been written and recorded."""
        return bool(self.sha256)


@dataclass(frozen=True)
class Manifest:
    """The contents of a folder.

    Attributes:
        configuration: Everything the data are made from, `n` and `shard_size` included, as JSON
            holds it. The random numbers of a shard follow from the seed and its first trajectory.
        shards: All of them, in order.
    """

    configuration: Mapping[str, Any]
    shards: tuple[Shard, ...]

    @property
    def identity(self) -> str:
        """The SHA-256 of the configuration; every shard carries it."""
        return digest(self.configuration)

    @property
    def n(self) -> int:
        """Number of trajectories."""
        return int(self.configuration["n"])

    @property
    def missing(self) -> list[int]:
        """Numbers of the shards that are not done."""
        return [number for number, shard in enumerate(self.shards) if not shard.done]

    @property
    def trajectories_done(self) -> int:
        """Number of trajectories in shards that are done."""
        return sum(shard.count for shard in self.shards if shard.done)

    @property
    def status(self) -> dict[str, int]:
        """The number of trajectories with each status, in the shards that are done."""
        total: dict[str, int] = {}
        for shard in self.shards:
            for name, count in (shard.status or {}).items():
                total[name] = total.get(name, 0) + count
        return total

    def write(self, folder: Path) -> None:
        """Write the manifest into a folder, completely or not at all."""
        write_atomic(self._text().encode(), folder / FILE, overwrite=True)

    def _text(self) -> str:
        head = {
            "format": FORMAT,
            "configuration": self.configuration,
            "configuration_sha256": self.identity,
        }
        # One line for each shard: compact, and readable.
        lines = ",\n".join(f"  {json.dumps(asdict(shard))}" for shard in self.shards)
        return f'{json.dumps(head, indent=1)[:-2]},\n "shards": [\n{lines}\n ]\n}}\n'


def new_manifest(configuration: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a data set of which no shard is done."""
    n, size = configuration["n"], configuration["shard_size"]
    return Manifest(configuration, tuple(_shards(n, size)))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder.

    Raises:
        FileNotFoundError: There is no such folder, or no manifest in it.
        SchemaError: It is not a manifest that this version reads, or was changed by hand.
    """
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no data set in {folder}: expected a folder with {FILE}, as "
            "simulate(..., output=...) makes it"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version, configuration = found["format"], found["configuration"]
        if version != FORMAT:
            raise SchemaError(
                f"{path} has format {version}, this package reads {FORMAT}; read it with the "
                f"version of warp-phys that wrote it"
            )
        shards = tuple(Shard(**entry) for entry in found["shards"])
        expected = new_manifest(configuration)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, SchemaError):
            raise
        raise SchemaError(f"{path} is not a readable manifest: {error!r}") from error
    plain = tuple(Shard(shard.file, shard.first, shard.count) for shard in shards)
    if plain != expected.shards or found.get("configuration_sha256") != expected.identity:
        raise SchemaError(
            f"{path} does not agree with itself: it was changed by hand or damaged; restore "
            "it, or remove the folder and start anew"
        )
    return Manifest(configuration, shards)


def digest(configuration: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a configuration, in hexadecimal."""
    text = json.dumps(configuration, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def shard_file(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:06d}.nc"


def _shards(n: int, size: int) -> Iterator[Shard]:
    for number, first in enumerate(range(0, n, size)):
        yield Shard(shard_file(number), first, min(size, n - first))
