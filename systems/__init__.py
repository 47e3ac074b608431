"""What is known: physical models, the contract they share, and integrating them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if __name__ != "warp_phys.systems":
    raise ImportError(
        f"expected import as 'warp_phys.systems', got {__name__!r}; "
        "write 'from warp_phys.systems import ...'"
    )

if TYPE_CHECKING:
    from warp_phys.systems._doses import Dose
    from warp_phys.systems._errors import (
        OutputExistsError,
        SchemaError,
        UnknownNameError,
        UsageError,
        WarpPhysError,
    )
    from warp_phys.systems._integrate import integrate
    from warp_phys.systems._linear_form import LinearForm
    from warp_phys.systems._problem import Solution, Status
    from warp_phys.systems._registry import get_system, system_names
    from warp_phys.systems._spec import Input, Output, Parameter, State
    from warp_phys.systems._system import System
    from warp_phys.systems.brusselator import Brusselator
    from warp_phys.systems.coupled_oscillators import CoupledOscillators
    from warp_phys.systems.damped_oscillator import DampedOscillator
    from warp_phys.systems.double_pendulum import DoublePendulum
    from warp_phys.systems.duffing import Duffing
    from warp_phys.systems.fitz_hugh_nagumo import FitzHughNagumo
    from warp_phys.systems.goodwin import Goodwin
    from warp_phys.systems.hodgkin_huxley import HodgkinHuxley
    from warp_phys.systems.logistic_growth import LogisticGrowth
    from warp_phys.systems.lorenz63 import Lorenz63
    from warp_phys.systems.lotka_volterra import LotkaVolterra
    from warp_phys.systems.mass_spring_damper import MassSpringDamper
    from warp_phys.systems.michaelis_menten import MichaelisMenten
    from warp_phys.systems.one_compartment_oral import OneCompartmentOral
    from warp_phys.systems.pendulum import Pendulum
    from warp_phys.systems.robertson import Robertson
    from warp_phys.systems.rosenzweig_mac_arthur import RosenzweigMacArthur
    from warp_phys.systems.rossler import Rossler
    from warp_phys.systems.seir import SEIR
    from warp_phys.systems.sine import Sine
    from warp_phys.systems.sir import SIR
    from warp_phys.systems.two_compartment import TwoCompartment
    from warp_phys.systems.van_der_pol import VanDerPol

# Public name -> module. Nothing is imported before it is asked for: torch alone takes seconds.
_EXPORTS = {
    "System": "_system",
    "State": "_spec",
    "Output": "_spec",
    "Input": "_spec",
    "Parameter": "_spec",
    "LinearForm": "_linear_form",
    "get_system": "_registry",
    "system_names": "_registry",
    "integrate": "_integrate",
    "Dose": "_doses",
    "Solution": "_problem",
    "Status": "_problem",
    "WarpPhysError": "_errors",
    "UsageError": "_errors",
    "UnknownNameError": "_errors",
    "SchemaError": "_errors",
    "OutputExistsError": "_errors",
    "Sine": "sine",
    "MassSpringDamper": "mass_spring_damper",
    "DampedOscillator": "damped_oscillator",
    "CoupledOscillators": "coupled_oscillators",
    "Pendulum": "pendulum",
    "DoublePendulum": "double_pendulum",
    "Duffing": "duffing",
    "VanDerPol": "van_der_pol",
    "LogisticGrowth": "logistic_growth",
    "LotkaVolterra": "lotka_volterra",
    "RosenzweigMacArthur": "rosenzweig_mac_arthur",
    "SIR": "sir",
    "SEIR": "seir",
    "OneCompartmentOral": "one_compartment_oral",
    "TwoCompartment": "two_compartment",
    "FitzHughNagumo": "fitz_hugh_nagumo",
    "HodgkinHuxley": "hodgkin_huxley",
    "MichaelisMenten": "michaelis_menten",
    "Brusselator": "brusselator",
    "Robertson": "robertson",
    "Goodwin": "goodwin",
    "Lorenz63": "lorenz63",
    "Rossler": "rossler",
}

__all__ = [
    "SEIR",
    "SIR",
    "Brusselator",
    "CoupledOscillators",
    "DampedOscillator",
    "Dose",
    "DoublePendulum",
    "Duffing",
    "FitzHughNagumo",
    "Goodwin",
    "HodgkinHuxley",
    "Input",
    "LinearForm",
    "LogisticGrowth",
    "Lorenz63",
    "LotkaVolterra",
    "MassSpringDamper",
    "MichaelisMenten",
    "OneCompartmentOral",
    "Output",
    "OutputExistsError",
    "Parameter",
    "Pendulum",
    "Robertson",
    "RosenzweigMacArthur",
    "Rossler",
    "SchemaError",
    "Sine",
    "Solution",
    "State",
    "Status",
    "System",
    "TwoCompartment",
    "UnknownNameError",
    "UsageError",
    "VanDerPol",
    "WarpPhysError",
    "get_system",
    "integrate",
    "system_names",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        module = importlib.import_module(f"{__name__}.{_EXPORTS[name]}")
        value = getattr(module, name)
        globals()[name] = value  # the next look takes no search
        return value
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; it exports {', '.join(sorted(_EXPORTS))}"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
