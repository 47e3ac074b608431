"""A system of your own: catalytic cracking of gas oil, read from its published record.

python examples/own_system.py [--quick]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import warp_phys as wp
from warp_phys.data_gen import simulate
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


def main(arguments: list[str] | None = None) -> None:
    """Train on simulated records at the published times, and read the published record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few records, short training")
    quick = parser.parse_args(arguments).quick

    record = wp.read_trajectories(RECORD, units={"gas_oil": "1", "gasoline": "1"})
    data = simulate(
        GasOil(), n=1_000 if quick else 50_000, times=record["time"].values, noise=0.03, seed=1
    )
    model = wp.WarpPhys(GasOil(), head="direct")
    wp.train(model, data, steps=40 if quick else 2_500, time_budget=110)
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
