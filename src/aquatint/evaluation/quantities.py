"""Numbers as people read them."""

import math
from collections.abc import Sequence


def finite(value: object) -> float | None:
    """A finite number from a file that may hold anything, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def figures(value: float, num: int = 3) -> str:
    """Significant figures, zeros kept: 0.5 is `0.500`."""
    text = f"{value:#.{num}g}".rstrip(".")
    return _short_exponent(text)


def aligned(values: Sequence[float]) -> list[str]:
    """With as many decimals as the largest needs for three significant figures, so that they can be compared by eye."""
    largest = max((abs(value) for value in values), default=0.0)
    decimals = 2 - math.floor(math.log10(largest)) if largest else 0
    if decimals > 8:
        return [figures(value) for value in values]
    return [f"{value:,.{max(0, decimals)}f}" for value in values]


def short(value: float) -> str:
    """As few characters as the number needs: `0.0002`, `5e-5`."""
    return _short_exponent(f"{value:.4g}")


def count(value: float) -> str:
    return f"{round(value):,}"


def num_bytes(value: float) -> str:
    """Decimal units, as file managers show them: `3.2 MB`."""
    if value < 1000:
        return f"{value:.0f} bytes"
    power, unit = next(((p, u) for p, u in ((3, "kB"), (6, "MB")) if value < 999.5 * 10**p), (9, "GB"))
    value /= 10**power
    return f"{value:.1f} {unit}" if value < 99.5 else f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """`0.42 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _short_exponent(text: str) -> str:
    mantissa, mark, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else text
