"""Parsing of option texts: times, NAME=VALUE pairs, numbers, ranges, distributions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from warp_phys.systems.errors import OutputExistsError, UsageError, unknown_name

# Name on the command line, without underscores -> name in warp_phys.data_gen.
_DISTRIBUTIONS = {
    "uniform": "uniform",
    "loguniform": "log_uniform",
    "normal": "normal",
    "lognormal": "log_normal",
    "truncatednormal": "truncated_normal",
}
_CALL = re.compile(r"([A-Za-z_]+)\s*\(([^()]*)\)")
_MOST_TIMES = 10_000_000


def parse_times(text: str) -> list[float]:
    """Return sample times from START:STOP:STEP, STOP included where a step meets it, or a list.

    Decimal arithmetic gives exactly the decimals that were written: 0:1:0.1 contains 0.3.

    Raises:
        UsageError: The text is neither, or the grid is empty or endless.

    Example:
        >>> parse_times("0:0.4:0.1")
        [0.0, 0.1, 0.2, 0.3, 0.4]
        >>> parse_times("0,1,2.5")
        [0.0, 1.0, 2.5]
    """
    wanted = f"expected times as START:STOP:STEP or a list like 0,1,2.5, got {text!r}"
    pieces = text.split(":")
    if len(pieces) == 1:
        return [float(_decimal(piece, wanted)) for piece in text.split(",")]
    if len(pieces) != 3:
        raise UsageError(wanted)
    start, stop, step = (_decimal(piece, wanted) for piece in pieces)
    if step <= 0 or stop < start:
        raise UsageError(f"{wanted}; STEP must be above 0 and STOP not before START")
    if stop - start > step * _MOST_TIMES:
        raise UsageError(f"{wanted}; that is more than {_MOST_TIMES:,} samples")
    return [float(start + step * count) for count in range(int((stop - start) / step) + 1)]


def parse_pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """Return NAME=VALUE texts as a mapping.

    Raises:
        UsageError: A text has no "=", or a name is given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = (piece.strip() for piece in text.partition("="))
        if not (name and equals):
            raise UsageError(f"expected {option} NAME=VALUE, got {text!r}")
        if name in pairs:
            raise UsageError(f"expected {option} once for each name, got {name!r} twice")
        pairs[name] = value
    return pairs


def parse_numbers(option: str, texts: Iterable[str]) -> dict[str, float] | None:
    """Return NAME=NUMBER texts as a mapping; None if there are none.

    Raises:
        UsageError: A value is not a number.
    """
    return {
        name: _number(value, f"expected {option} {name} as a number, got {value!r}")
        for name, value in parse_pairs(option, texts).items()
    } or None


def parse_known(option: str, texts: Iterable[str]) -> dict[str, float | str] | None:
    """Return NAME=NUMBER or NAME=VARIABLE texts as a mapping; None if there are none.

    Example:
        >>> parse_known("--fix", ["g=9.81", "length=bob_length"])
        {'g': 9.81, 'length': 'bob_length'}
    """
    found: dict[str, float | str] = {}
    for name, value in parse_pairs(option, texts).items():
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = value
    return found or None


def parse_shared(option: str, texts: Sequence[str]) -> list[str] | dict[str, str] | None:
    """Return NAME texts as a list, or as a mapping where one is NAME=GROUP; None if there are none.

    Example:
        >>> parse_shared("--shared", ["alpha", "beta"])
        ['alpha', 'beta']
        >>> parse_shared("--shared", ["alpha=all", "beta=batch"])
        {'alpha': 'all', 'beta': 'batch'}
    """
    if not any("=" in text for text in texts):
        return list(texts) or None
    return parse_pairs(option, (text if "=" in text else f"{text}=all" for text in texts))


def parse_word_or_numbers(
    option: str, texts: Sequence[str], default: str | None
) -> str | dict[str, float] | None:
    """Return one word, or NAME=NUMBER texts as a mapping; `default` if there are no texts.

    Raises:
        UsageError: Both forms are mixed, or there are several words.
    """
    if not texts:
        return default
    if len(texts) == 1 and "=" not in texts[0]:
        return texts[0].strip()
    return parse_numbers(option, texts) or default


def parse_bounds(
    option: str, texts: Iterable[str]
) -> dict[str, tuple[float | None, float | None]] | None:
    """Return NAME=LOW:HIGH texts as a mapping, with None for an empty end.

    Raises:
        UsageError: An end is not a number.

    Example:
        >>> parse_bounds("--bounds", ["alpha=0.1:2", "beta=:1"])
        {'alpha': (0.1, 2.0), 'beta': (None, 1.0)}
    """
    found = {}
    for name, value in parse_pairs(option, texts).items():
        wanted = f"expected {option} {name} as LOW:HIGH, either end empty where open, got {value!r}"
        ends = [_number(end, wanted) if end.strip() else None for end in value.split(":")]
        if len(ends) != 2:
            raise UsageError(wanted)
        found[name] = (ends[0], ends[1])
    return found or None


def parse_recipes(option: str, texts: Iterable[str]) -> dict[str, Any] | None:
    """Return NAME=RECIPE texts as values that `simulate` takes; None if there are none.

    Raises:
        UsageError: A recipe is not a number, range or distribution.
    """
    pairs = parse_pairs(option, texts)
    return {name: _recipe(f"{option} {name}", value) for name, value in pairs.items()} or None


def parse_doses(option: str, texts: Iterable[str]) -> tuple[Any, ...]:
    """Return STATE=AMOUNT@TIME texts as doses.

    Raises:
        UsageError: A text has another form, or an amount or time is not a recipe.

    Example:
        >>> parse_doses("--dose", ["gut=100:400@24"])
        (Dose(state='gut', amount=(100.0, 400.0), time=24.0),)
    """
    texts = list(texts)
    if not texts:
        return ()

    from warp_phys.systems import Dose

    doses = []
    for text in texts:
        state, equals, rest = (piece.strip() for piece in text.partition("="))
        amount, at, time = (piece.strip() for piece in rest.partition("@"))
        if not (state and equals and at):
            raise UsageError(f"expected {option} STATE=AMOUNT@TIME, got {text!r}")
        what = f"{option} {state}"
        doses.append(
            Dose(
                state,
                _recipe(f"the amount of {what}", amount),
                _recipe(f"the time of {what}", time),
            )
        )
    return tuple(doses)


def parse_levels(option: str, texts: Sequence[str]) -> float | dict[str, Any]:
    """Return one number for all outputs, or a recipe for each output named.

    Raises:
        UsageError: Both forms are mixed, or a value cannot be parsed.
    """
    if not texts:
        return 0.0
    if not any("=" in text for text in texts):
        if len(texts) > 1:
            raise UsageError(f"expected {option} as one number or OUTPUT=VALUE, got {len(texts)}")
        return float(_decimal(texts[0], f"expected {option} as a number, got {texts[0]!r}"))
    return parse_recipes(option, texts) or {}


def parse_names(_option: str, text: str | None) -> list[str] | None:
    """Return names separated by commas; None if the option is not given."""
    return None if text is None else [name.strip() for name in text.split(",")]


def parse_renames(option: str, texts: Iterable[str]) -> dict[str, str | None] | None:
    """Return OLD=NEW texts as a mapping, with None for OLD= alone: that column is ignored."""
    pairs = parse_pairs(option, texts)
    return {old: new or None for old, new in pairs.items()} or None


def check_outputs(outputs: Mapping[str, Path | None], *, overwrite: bool) -> None:
    """Check output files before any work is done.

    Args:
        outputs: Option -> path of the file, or None if it was not asked for.
        overwrite: Whether existing files may be replaced.

    Raises:
        UsageError: Two outputs have the same path.
        OutputExistsError: A file exists and `overwrite` is off.
        FileNotFoundError: The folder of a file does not exist.
    """
    given = {option: path for option, path in outputs.items() if path is not None}
    if len({path.resolve() for path in given.values()}) < len(given):
        raise UsageError(f"expected different files for {' and '.join(given)}")
    for path in given.values():
        if not path.parent.is_dir():
            raise FileNotFoundError(f"the folder of {path} does not exist; create it first")
        if path.exists() and not overwrite:
            raise OutputExistsError(
                f"{path.name} exists already; choose another name or pass --overwrite"
            )


def check_suffix(option: str, path: Path | None, suffixes: Sequence[str]) -> None:
    """Raise UsageError unless a file name ends in one of these."""
    if path is not None and path.suffix.lower() not in suffixes:
        raise UsageError(f"expected {option} to end in {' or '.join(suffixes)}, got {path.name}")


def _recipe(what: str, text: str) -> Any:
    """Return a number, a range LOW:HIGH or a distribution NAME(a,b)."""
    wanted = (
        f"expected {what} as a number, a range LOW:HIGH or a distribution like "
        f"lognormal(10,0.5), got {text!r}"
    )
    call = _CALL.fullmatch(text)
    if call is not None:
        return _distribution(call[1], call[2], wanted)
    numbers = [_number(piece, wanted) for piece in text.split(":")]
    if len(numbers) > 2:
        raise UsageError(wanted)
    return numbers[0] if len(numbers) == 1 else tuple(numbers)


def _distribution(name: str, arguments: str, wanted: str) -> Any:
    from warp_phys import data_gen

    folded = name.replace("_", "").lower()
    if folded not in _DISTRIBUTIONS:
        raise unknown_name("distribution", name, _DISTRIBUTIONS.values())
    numbers = [_number(piece, wanted) for piece in arguments.split(",")]
    try:
        return getattr(data_gen, _DISTRIBUTIONS[folded])(*numbers)
    except TypeError as error:
        raise UsageError(f"{wanted}: {error}") from None


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(wanted) from None


def _decimal(text: str, wanted: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise UsageError(wanted) from None
    if not value.is_finite():
        raise UsageError(wanted)
    return value
