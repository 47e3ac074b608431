"""Noise models by name: the package's own, and those that the user has defined."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warp_phys.systems.errors import UnknownNameError, UsageError, unknown_name
from warp_phys.systems.registries.by_file import check_own_name, classes_by_name

if TYPE_CHECKING:
    from warp_phys.systems.noise.noise import Noise

_FOLDER = Path(__file__).parent / "distributions"
_FIRST = "normal"


def noise_names() -> tuple[str, ...]:
    """Return the names of the noise models of the package, "normal" first.

    No noise model is imported for this: a file in `distributions` registers one.

    Example:
        >>> "lognormal" in noise_names()
        True
    """
    names = (path.stem for path in _FOLDER.glob("[a-z]*.py"))
    return tuple(sorted(names, key=lambda name: (name != _FIRST, name)))


def as_noise(distribution: Any) -> Noise:
    """Return a noise model unchanged, the one of a name, or those of a mapping by output.

    Raises:
        UnknownNameError: No noise model has this name.
        UsageError: It is neither a noise model nor text, or needs parameters of its own.
    """
    from warp_phys.systems.noise.by_output import NoiseByOutput
    from warp_phys.systems.noise.noise import Noise

    if isinstance(distribution, str):
        return _made(distribution, {})
    if isinstance(distribution, Mapping) and distribution:
        return _by_output({name: as_noise(one) for name, one in distribution.items()})
    if isinstance(distribution, NoiseByOutput):
        return distribution
    if not isinstance(distribution, Noise):
        name = getattr(distribution, "__name__", "")
        raise UsageError(
            "expected distribution as the name of a noise model, a Noise, or a mapping from output "
            f"to one of them, got {distribution!r}"
            + (f"; write {name}(...) for an instance" if name else "")
        )
    check_own_name("distribution", type(distribution), _shipped())
    return distribution


def noise_class(name: str) -> type[Noise]:
    """Return the class of a noise model of the package."""
    return _shipped()[name]


def noise_settings(noise: Noise) -> dict[str, Any]:
    """Return the entries of a data set's settings for its noise: the name and its parameters."""
    found: dict[str, Any] = {"distribution": noise.name}
    if noise.settings:
        found["distribution_settings"] = noise.settings
    return found


def noise_of(attributes: Mapping[str, Any]) -> Noise:
    """Return the noise model named in the attributes of a data set, by default normal noise.

    Raises:
        UnknownNameError: The noise is a user's, whose class has not been imported yet.
    """
    settings = json.loads(attributes.get("settings", "{}"))
    name = str(attributes.get("distribution", settings.get("distribution", _FIRST)))
    given = settings.get("distribution_settings", {})
    try:
        if "by_output" in given:
            models = given["by_output"].items()
            return _by_output({output: _made(*described) for output, described in models})
        return _made(name, given)
    except UnknownNameError as error:
        raise UnknownNameError(
            f"the data set has a noise model of its own: {error}; import its class first"
        ) from None


def _by_output(models: Mapping[str, Noise]) -> Noise:
    from warp_phys.systems.noise.by_output import NoiseByOutput

    return NoiseByOutput(list(models.values()), list(models))


def _shipped() -> dict[str, type[Noise]]:
    from warp_phys.systems.noise.noise import Noise

    return classes_by_name("warp_phys.systems.noise.distributions", Noise)


def _made(name: str, settings: Mapping[str, Any]) -> Noise:
    # Imported only here: names can be listed and checked without torch.
    from warp_phys.systems.noise.noise import DEFINED

    known = {**DEFINED, **_shipped()}
    if name not in known:
        raise unknown_name("distribution", name, dict.fromkeys([*noise_names(), *known]))
    kind = known[name]
    try:
        return kind(**settings)
    except TypeError as error:
        raise UsageError(
            f"noise {name!r} has parameters of its own; give distribution={kind.__name__}(...) "
            f"({error})"
        ) from None
