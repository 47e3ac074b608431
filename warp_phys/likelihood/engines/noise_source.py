"""Generated C++ code of noise models: the terms that the engine sums up for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from warp_phys.systems.compiling.elementwise import elementwise_source
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.sample_terms import SampleTerms

_KNOWN: dict[tuple[Any, ...], str] = {}
# Observed values, predictions and precisions at which the traced code is compared with the model.
# Scaled residuals lie on both sides of a robust loss's bend, and some values are counts.
_POINTS = ((1.0, 1.3, 0.9), (2.0, 0.4, 7.0), (1.0, 2.5, 0.3), (0.0, 0.7, 1.0), (3.0, 3.0, 2.0))
# Values of the noise's own parameters at these points, and flags of censored values.
_OWN = (0.4, 1.7, 3.1, 0.9, 0.6)
_FLAGS = (0.0, 1.0, 2.0, 0.0, 1.0)


def terms_source(terms: Sequence[SampleTerms]) -> str:
    """Return the C++ of `noise_terms`, which calls the terms of an output.

    Its arguments are the number of the output, observed and predicted value, precision, the unknown
    parameters of the output's noise (V*), the flag of a censored value, and the terms (V*).

    Raises:
        TracingError: A model cannot be written as expressions.
    """
    distinct = list(dict.fromkeys(_key(one) for one in terms))
    parts = [
        noise_source(one.noise, one, f"noise_terms_{distinct.index(_key(one))}") for one in terms
    ]
    cases = []
    for place, one in enumerate(terms):
        own = "".join(f", own[{k}]" for k in range(len(one.names)))
        flag = ", flag" if one.censored else ""
        call = f"noise_terms_{distinct.index(_key(one))}(observed, predicted, precision{own}{flag}"
        cases.append(f"    case {place}: {call}, out); break;")
    head = (
        "static inline void noise_terms(int output, V observed, V predicted, V precision, "
        "const V* own, V flag, V* out) {"
    )
    body = ["    (void)own; (void)flag;", "    switch (output) {", *cases, "    }", "}"]
    return "\n".join([*dict.fromkeys(parts), head, *body])


def noise_source(noise: Noise, terms: SampleTerms | None = None, name: str = "noise_terms") -> str:
    """Return `void NAME(V observed, V predicted, V precision, ..., V* out)`, see `SampleTerms`.

    Raises:
        TracingError: The model cannot be written as expressions.
    """
    terms = SampleTerms(noise) if terms is None else terms
    key = (*_key(terms), name)
    if key not in _KNOWN:
        rows = [*torch.tensor(_POINTS, dtype=torch.float64).T]
        # Shifted for each parameter, so that none has the value of another.
        own = torch.tensor(_OWN, dtype=torch.float64)
        rows += [own.roll(place) for place in range(len(terms.names))]
        if terms.censored:
            rows.append(torch.tensor(_FLAGS, dtype=torch.float64))
        _KNOWN[key] = elementwise_source(name, terms, terms.variables, torch.stack(rows))
    return _KNOWN[key]


def _key(terms: SampleTerms) -> tuple[Any, ...]:
    return (*terms.noise.key, terms.names, terms.censored)
