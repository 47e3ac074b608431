"""Events: a state that jumps to new values when a condition becomes true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from warp_phys.systems.errors import UsageError

Function = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Event:
    r"""A jump of the state at the moment at which a condition becomes true.

    At time tau, at which the condition becomes true, the states y- become y+ = h(tau, y-; p), where
    h is given by `new_state`; states that it does not name keep their values. Nothing happens while
    the condition stays true: the event happens again after it has been false. The time tau may
    depend on parameters and states; fits take the exact derivatives of what follows.

    - A sample at the time of an event shows the state after it, as with doses.
    - A condition that is true at the initial time has not become true. On its very boundary, such
      as `t >= p.lag` at the initial time 0 where the lag is 0, it becomes true.
    - Events at the same time happen in the order of their declaration, each to the state that the
      one before left. A jump that makes the condition of another event true makes that happen, too.
    - Events that follow each other without end, such as the bounces of a ball that comes to rest,
      end the trajectory with the status "too many events".
    - Every step looks at the values that are compared at its ends and in its middle, and is
      shortened until they are followed. A condition that holds for so short a time that neither
      they nor their rates show it is missed.

    Attributes:
        condition: Function (t, y, p), as `System.rhs`, that returns a comparison of numbers, such
            as `y[0] < 0.0` or `t >= p.lag`, or several that are combined by `&`, `|` and `~`.
        new_state: State name -> number, or function (t, y, p) of the state just before.
        description: What it means, in a few words.

    Raises:
        UsageError: The condition or a new state is not a function or a number.

    Example:
        >>> bounce = Event(
        ...     lambda t, y, p: y[0] < 0.0, {"speed": lambda t, y, p: -p.restitution * y[1]}
        ... )
        >>> list(bounce.new_state)
        ['speed']
    """

    condition: Function
    new_state: Mapping[str, float | Function]
    description: str = ""

    def __post_init__(self) -> None:
        if not callable(self.condition):
            raise UsageError(
                "the condition of an Event should be a function of (t, y, p), like "
                f"lambda t, y, p: y[0] < 0.0; received {self.condition!r}"
            )
        if not isinstance(self.new_state, Mapping) or not self.new_state:
            raise UsageError(
                "the new_state of an Event should be a mapping from names of states to numbers or "
                f"functions of (t, y, p), like {{'speed': 0.0}}; received {self.new_state!r}"
            )
        given: Mapping[str, Any] = self.new_state
        for name, value in given.items():
            if not callable(value) and not isinstance(value, Real):
                raise UsageError(
                    f"the new value of state {name!r} should be a number or a function of "
                    f"(t, y, p); received {value!r}"
                )
