"""What the contract is asked of: every family in each form that it loads, told a text, a class or nothing; and every method."""

from types import ModuleType

from aquatint.core.family import Bundle
from aquatint.methods.base import Method
from aquatint.registry import families, methods


def tolds(family: ModuleType) -> list[str]:
    """What its bases may be told; where a pipeline cannot say a class although its denoiser must be told one, that too."""
    return list(dict.fromkeys([*family.PIPELINES.values(), *(["classes"] if getattr(family, "LABELLED", ()) else [])]))


CASES: dict[str, tuple[str, str]] = {
    name if told == next(iter(family.PIPELINES.values())) else f"{name}-{told}": (name, told)
    for name, family in families.load_all().items()
    for told in tolds(family)
}
"""Name of the case -> family, and what it is told."""
METHODS = methods.names()


def family_of(case: str) -> ModuleType:
    return families[CASES[case][0]]


def class_name(case: str) -> str:
    """Of the stock pipeline."""
    family = family_of(case)
    return next((name for name, told in family.PIPELINES.items() if told == CASES[case][1]), *getattr(family, "LABELLED", ())[:1])


def prompts_of(bundle: Bundle, num: int) -> list[str]:
    """Prompts that mean something to it, as different as they can be."""
    known = bundle.labels or tuple(f"disc {index}" for index in range(num))
    return [known[index % len(known)] for index in range(num)]


def misfit(case: str, method: Method) -> str | None:
    return method.misfit(CASES[case][1], family_of(case))


MATRIX = [(case, method) for case in CASES for method in METHODS if misfit(case, Method.resolve(method)) is None]
REFUSED = [(case, method) for case in CASES for method in METHODS if (case, method) not in MATRIX]
