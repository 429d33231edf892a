"""What the contract is asked of: every family in each form that it loads, told a text, a class or nothing; and every method."""

from types import ModuleType

from aquatint.methods.base import Method
from aquatint.registry import families, methods

CASES: dict[str, tuple[str, str]] = {
    name if told == next(iter(family.PIPELINES.values())) else f"{name}-{told}": (name, told)
    for name, family in families.load_all().items()
    for told in dict.fromkeys(family.PIPELINES.values())
}
"""Name of the case -> family, and what it is told."""
METHODS = methods.names()


def family_of(case: str) -> ModuleType:
    return families[CASES[case][0]]


def class_name(case: str) -> str:
    """Of the stock pipeline."""
    return next(name for name, told in family_of(case).PIPELINES.items() if told == CASES[case][1])


def misfit(case: str, method: Method) -> str | None:
    return method.misfit(CASES[case][1], family_of(case))


MATRIX = [(case, method) for case in CASES for method in METHODS if misfit(case, Method.resolve(method)) is None]
REFUSED = [(case, method) for case in CASES for method in METHODS if (case, method) not in MATRIX]
