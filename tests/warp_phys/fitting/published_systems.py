"""The models behind published fits, with ranges that do not give the answer away."""

from typing import Any

import torch

from warp_phys.systems import Parameter, State, System


class GasOil(System):
    """Catalytic cracking of gas oil: a' = -(p1 + p3) a^2, b' = p1 a^2 - p2 b."""

    time_unit = "h"
    states = (State("gas_oil", "1"), State("gasoline", "1"))
    parameters = (
        Parameter("p1", "1/h", "positive", (1.0, 20.0)),
        Parameter("p2", "1/h", "positive", (1.0, 20.0)),
        Parameter("p3", "1/h", "positive", (0.1, 5.0)),
    )
    default_initial_state = {"gas_oil": 1.0, "gasoline": 0.0}
    reference = "E. D. Dolan, J. J. More, T. S. Munson, COPS 3.0, ANL/MCS-TM-273, 2004"

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        gas_oil, gasoline = y
        return -(p.p1 + p.p3) * gas_oil**2, p.p1 * gas_oil**2 - p.p2 * gasoline


class Theophylline(System):
    """An oral dose taken up and eliminated at first order; the parameters of R's SSfol.

    gut' = -ka gut, concentration' = ka gut ke / Cl - ke concentration. Swapping ka and ke changes
    nothing in the concentration.
    """

    time_unit = "h"
    states = (State("gut", "mg/kg"), State("concentration", "mg/L"))
    parameters = (
        Parameter("lKe", "1", range=(-5.0, 1.0), description="log of elimination in 1/h"),
        Parameter("lKa", "1", range=(-2.0, 4.0), description="log of absorption in 1/h"),
        Parameter("lCl", "1", range=(-6.0, 0.0), description="log of clearance in L/(h kg)"),
    )
    default_initial_state = {"gut": 4.02, "concentration": 0.0}
    reference = "J. C. Pinheiro, D. M. Bates, Mixed-Effects Models in S and S-PLUS, 2000"

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        gut, concentration = y
        elimination = torch.exp(p.lKe)
        uptake = torch.exp(p.lKa) * gut
        return -uptake, elimination * (uptake / torch.exp(p.lCl) - concentration)


class BoxBOD(System):
    """Biochemical oxygen demand, y' = b2 (b1 - y), with y(0) = 0."""

    time_unit = "day"
    states = (State("oxygen_demand", "mg/L"),)
    parameters = (
        Parameter("b1", "mg/L", "positive", (10.0, 1000.0)),
        Parameter("b2", "1/day", "positive", (0.1, 10.0)),
    )
    default_initial_state = {"oxygen_demand": 0.0}
    reference = "NIST StRD, BoxBOD, www.itl.nist.gov/div898/strd/nls/data/boxbod.shtml"

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (p.b2 * (p.b1 - y[0]),)
