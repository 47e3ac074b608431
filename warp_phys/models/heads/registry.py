"""The heads that a model can have, by name."""

from __future__ import annotations

from warp_phys.models.heads.head import Head
from warp_phys.systems.registries.by_file import classes_by_name

HEADS: dict[str, type[Head]] = classes_by_name("warp_phys.models.heads", Head)
"""The heads that come with the package, by the name that `head=` takes."""
