"""Units of time: records in another unit than the system's are converted, or refused."""

from __future__ import annotations

import xarray as xr

from warp_phys.systems.errors import UsageError

# The units of time of UDUNITS in seconds, by name; its year is the tropical one of 365.242198781
# days, and a month a twelfth of it.
_YEAR = 3.15569259747e7
_SECONDS: dict[str, float] = {
    **dict.fromkeys(("ns", "nsec", "nanosecond"), 1e-9),
    **dict.fromkeys(("us", "µs", "μs", "usec", "microsecond"), 1e-6),
    **dict.fromkeys(("ms", "msec", "millisecond"), 1e-3),
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hr", "hour"), 3600.0),
    **dict.fromkeys(("d", "day"), 86400.0),
    **dict.fromkeys(("wk", "week"), 604800.0),
    **dict.fromkeys(("month",), _YEAR / 12.0),
    **dict.fromkeys(("a", "yr", "year"), _YEAR),
}
# What a data set may hold that is a time.
_TIMES = ("time", "input_time", "dose_time", "initial_time")


def in_time_unit(dataset: xr.Dataset, unit: str) -> xr.Dataset:
    """Return a data set with its times in a unit; as it is where either unit is not known.

    Raises:
        UsageError: Both units are known, and one cannot be converted to the other.

    Example:
        >>> import xarray as xr
        >>> data = xr.Dataset(coords={"time": ("time", [0.0, 36.0], {"units": "hours"})})
        >>> in_time_unit(data, "day")["time"].values
        array([0. , 1.5])
    """
    given = str(dataset["time"].attrs.get("units", "")).split(" since ")[0].strip()
    if given == unit or {given, unit} & {"", "1"}:
        return dataset
    source, target = _seconds(given), _seconds(unit)
    if source is None or target is None:
        raise UsageError(
            f"the times of the records are in {given!r} and the system counts {unit!r}; neither is "
            "converted to the other: give both in units of time such as 's', 'h', 'day' or 'year', "
            "or, if they mean the same, the records the unit of the system: "
            f'data["time"].attrs["units"] = {unit!r}'
        )
    if source == target:
        return dataset
    converted = {}
    for name in _TIMES:
        if name in dataset.variables:
            variable = dataset[name]
            # Multiplied first: whole numbers of hours or days stay exact.
            times = variable.astype(float) * source / target
            converted[name] = times.assign_attrs({**variable.attrs, "units": unit})
    note = f"time converted from {given} to {unit}"
    history = "\n".join(filter(None, [str(dataset.attrs.get("history", "")), note]))
    return (
        dataset.assign_coords(time=converted.pop("time"))
        .assign(converted)
        .assign_attrs(history=history)
    )


def _seconds(unit: str) -> float | None:
    """Return how many seconds a unit of time has, None where the unit is not one of time."""
    return _SECONDS.get(unit, _SECONDS.get(unit.lower().removesuffix("s")))
