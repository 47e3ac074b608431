"""The systems that come with the package, by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from warp_phys.systems._errors import UsageError, unknown_name

if TYPE_CHECKING:
    from warp_phys.systems._system import System

# Name (also of the module) -> class.
SHIPPED = {
    # Waves and mechanics.
    "sine": "Sine",
    "mass_spring_damper": "MassSpringDamper",
    "damped_oscillator": "DampedOscillator",
    "coupled_oscillators": "CoupledOscillators",
    "pendulum": "Pendulum",
    "double_pendulum": "DoublePendulum",
    "duffing": "Duffing",
    "van_der_pol": "VanDerPol",
    # Ecology.
    "logistic_growth": "LogisticGrowth",
    "lotka_volterra": "LotkaVolterra",
    "rosenzweig_mac_arthur": "RosenzweigMacArthur",
    # Epidemiology.
    "sir": "SIR",
    "seir": "SEIR",
    # Pharmacokinetics.
    "one_compartment_oral": "OneCompartmentOral",
    "two_compartment": "TwoCompartment",
    # Neuroscience.
    "fitz_hugh_nagumo": "FitzHughNagumo",
    "hodgkin_huxley": "HodgkinHuxley",
    # Chemistry and the chemistry of cells.
    "michaelis_menten": "MichaelisMenten",
    "brusselator": "Brusselator",
    "robertson": "Robertson",
    "goodwin": "Goodwin",
    # Chaos.
    "lorenz63": "Lorenz63",
    "rossler": "Rossler",
}


def system_names() -> tuple[str, ...]:
    """Return the names of the systems that come with the package.

    Example:
        >>> "lotka_volterra" in system_names()
        True
    """
    return tuple(SHIPPED)


def get_system(name: str, **fixed: float | tuple[float, float] | None) -> System:
    """Return a system that comes with the package.

    Args:
        name: One of `system_names()`; the class name works too.
        **fixed: Parameters to fix (number) or to free (None, or a range), as in `System`.

    Returns:
        A new instance.

    Raises:
        UnknownNameError: No system has this name; the message offers the closest.
        UsageError: `name` is not text.

    Example:
        >>> get_system("pendulum", length=1.0).free_names
        ('damping',)
    """
    if not isinstance(name, str):
        raise UsageError(
            f"expected the name of a system as text, one of {', '.join(SHIPPED)}; received "
            f"{type(name).__name__}"
        )
    wanted = name.replace("_", "").replace("-", "").replace(" ", "").lower()
    for module, class_name in SHIPPED.items():
        if class_name.lower() == wanted:
            found = importlib.import_module(f"warp_phys.systems.{module}")
            system: System = getattr(found, class_name)(**fixed)
            return system
    raise unknown_name("system", name, SHIPPED)


def as_system(system: Any) -> System:
    """Return a system as it is, or the shipped one of a name.

    Raises:
        UnknownNameError: No system has this name.
        UsageError: It is neither a system nor text; a class, say.
    """
    from warp_phys.systems._system import System

    if isinstance(system, str):
        return get_system(system)
    if not isinstance(system, System):
        name = getattr(system, "__name__", "")
        raise UsageError(
            f"expected a System or the name of one, got {system!r}"
            + (f"; write {name}() for an instance" if name else "")
        )
    return system
