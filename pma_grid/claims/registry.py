"""The list of claims: name, statement, and the function that checks it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pma_grid.claims.result import ClaimResult, Findings
from pma_grid.errors import InvalidInputError


@dataclass(frozen=True)
class Claim:
    """A statement and ``run(findings, quick)``, which adds checks and panels."""

    name: str
    statement: str
    run: Callable[[Findings, bool], None]


_CLAIMS: tuple[Claim, ...] = ()
_BY_NAME = {claim.name: claim for claim in _CLAIMS}
NAMES = tuple(_BY_NAME)


def _find(name: str) -> Claim:
    if name not in _BY_NAME:
        raise InvalidInputError(f"claim {name!r} does not exist; the claims are {', '.join(NAMES)}")
    return _BY_NAME[name]


def statement(name: str) -> str:
    """The claim in one sentence.

    Raises
    ------
    InvalidInputError
        The name does not exist.
    """
    return _find(name).statement


def check(name: str, *, quick: bool = False) -> ClaimResult:
    """Measure what a claim predicts; ``quick`` takes small grids.

    Raises
    ------
    InvalidInputError
        The name does not exist.
    """
    claim = _find(name)
    began = time.perf_counter()
    findings = Findings()
    claim.run(findings, quick)
    return ClaimResult(
        claim.name, claim.statement, tuple(findings.checks), tuple(findings.panels),
        time.perf_counter() - began,
    )  # fmt: skip
