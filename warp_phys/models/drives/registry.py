"""The drives that a model can have, by name."""

from __future__ import annotations

from warp_phys.models.drives.drive import Drive
from warp_phys.systems.registries.by_file import classes_by_name

DRIVES: dict[str, type[Drive]] = classes_by_name("warp_phys.models.drives", Drive)
"""The drives that come with the package, by the name that `drive=` takes."""
