"""Coefficients of the Rosenbrock method Rodas5P."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RosenbrockTableau:
    """A stiffly accurate Rosenbrock method, in the form without products with the Jacobian.

    With W = 1 / (gamma h) - df/dy, the increments k_i solve
    W k_i = f(t + c_i h, y + sum_j a_ij k_j) + sum_j (C_ij / h) k_j + d_i h df/dt,
    the step is y + sum_j b_j k_j, and the last increment is its error estimate (Hairer, Wanner,
    Solving ODEs II, sec. IV.7, on the implementation of Rosenbrock methods). The form results from
    a linear transformation of the stages, by which every coefficient but c and gamma differs from
    those in the definition of the method.

    Attributes:
        name: "rodas5p".
        error_order: Order of the error estimate.
        gamma: The diagonal coefficient, one for all stages.
        nodes: c, the times of the stages as fractions of the step.
        stages: a, row by row, without the first stage's empty row.
        couplings: C, row by row, without the first stage's empty row.
        time_weights: d, the weights of the derivative by time.
        weights: b, the weights of the increments in the step.
        interpolation: Weights of the increments in K_1, K_2, K_3 of the interpolant
            y + x (y_1 - y + (1 - x) (K_1 + x (K_2 + x K_3))), of order 4.
    """

    name: str
    error_order: int
    gamma: float
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    couplings: tuple[tuple[float, ...], ...]
    time_weights: tuple[float, ...]
    weights: tuple[float, ...]
    interpolation: tuple[tuple[float, ...], ...]


# Stiffly accurate: the arguments of the last two stages are the embedded solution and its
# predecessor, so that rows 6 to 8 of a and b agree but for ones at their ends.
_SIXTH = (
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
)

# G. Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within
# the Julia Differential Equations package, BIT 63 (2023) 27, doi:10.1007/s10543-023-00967-x.
RODAS5P_TABLEAU = RosenbrockTableau(
    name="rodas5p",
    error_order=4,
    gamma=0.21193756319429014,
    nodes=(
        0.0,
        0.6358126895828704,
        0.4095798393397535,
        0.9769306725060716,
        0.4288403609558664,
        1.0,
        1.0,
        1.0,
    ),
    stages=(
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _SIXTH,
        (*_SIXTH, 1.0),
        (*_SIXTH, 1.0, 1.0),
    ),
    couplings=(
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (
            24.854864614690072,
            -3.0009227002832186,
            47.4931110020768,
            5.5814197821558125,
            -0.6610691825249471,
        ),
        (
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ),
    ),
    # The last three stages are evaluated at the end of the step, and their weights d vanish.
    time_weights=(
        0.21193756319429014,
        -0.42387512638858027,
        -0.3384627126235924,
        1.8046452872882734,
        2.325825639765069,
        0.0,
        0.0,
        0.0,
    ),
    weights=(*_SIXTH, 1.0, 1.0, 1.0),
    interpolation=(
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ),
)
