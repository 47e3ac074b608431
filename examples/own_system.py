"""A system of your own: catalytic cracking of gas oil, from its published record.

Usage: python examples/own_system.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import warp_phys as wp
from warp_phys.systems import Parameter, State, System

RECORD = Path(__file__).parent / "data" / "gas_oil.csv"
PUBLISHED = {"p1": 11.8468, "p2": 8.3445, "p3": 1.0014}  # least squares, COPS 3.0


class GasOil(System):
    """Catalytic cracking of gas oil: a' = -(p1 + p3) a^2, b' = p1 a^2 - p2 b."""

    time_unit = "h"
    states = (State("gas_oil", "1"), State("gasoline", "1"))
    parameters = (
        Parameter("p1", "1/h", support="positive", range=(1.0, 20.0)),
        Parameter("p2", "1/h", support="positive", range=(1.0, 20.0)),
        Parameter("p3", "1/h", support="positive", range=(0.1, 5.0)),
    )
    default_initial_state = {"gas_oil": 1.0, "gasoline": 0.0}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        """Return the rates of both."""
        a, b = y
        return -(p.p1 + p.p3) * a**2, p.p1 * a**2 - p.p2 * b


def main() -> None:
    """Read the parameters of the published record, which begins with pure gas oil."""
    record = wp.read_trajectories(RECORD, units={"gas_oil": "1", "gasoline": "1"})
    model = wp.WarpPhys(GasOil(), initial_state={"gas_oil": 1.0, "gasoline": 0.0})
    found = wp.estimate(model, record).isel(trajectory=0, time=-1)
    print(GasOil())
    print("\nparameter   estimate   90 % band          published least squares")
    for name, published in PUBLISHED.items():
        value, low, high = (
            float(found[key].sel(parameter=name))
            for key in ("parameters", "parameters_lower", "parameters_upper")
        )
        print(f"{name:<9}   {value:8.3f}   {low:6.3f} to {high:6.3f}   {published:.4f}")


if __name__ == "__main__":
    main()
