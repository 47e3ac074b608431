"""The identity and the checksum of a shard's file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py

IDENTITY = "configuration_sha256"
"""Attribute of a shard: the digest of what its data set is made from."""

_CHUNK = 2**22


def identity_of(path: Path) -> str | None:
    """Return the identity of the data set to which a file belongs, empty if it names none.

    None where it is not an HDF5 file, or a damaged one.
    """
    try:
        with h5py.File(path) as file:
            return str(file.attrs.get(IDENTITY, ""))
    except OSError:
        return None


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
