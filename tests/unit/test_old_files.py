"""Files that version 0.1.0 wrote before its modules moved are read, and mean the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pma_grid as pma

FOLDER = Path(__file__).parents[1] / "data" / "files"
FACTS: dict[str, dict[str, Any]] = json.loads((FOLDER / "facts.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(FACTS))
def test_old_files_are_read(name: str) -> None:
    found, facts = pma.load(FOLDER / f"{name}.npz"), dict(FACTS[name])
    reads = {
        "iterations": lambda: found.stats["iterations"],
        "kl": lambda: found["kl"][-1],
        "log_density": lambda: found.log_density([[0.0, 0.0]])[0],
        "plan": lambda: found.plan.nnz,
        "regret": lambda: pma.theory.regret(found).cumulative[-1],
        "residual": lambda: found.residual[3, 4],
        "snapshots": lambda: len(found.snapshots),
        "status": lambda: str(found.flow.status if name == "model" else found.status),
    }
    if name.startswith("flow") and "w2_squared" in facts:
        reads["w2_squared"] = lambda: found.transport.w2_squared
    assert facts, "nothing to compare with"
    for key, value in facts.items():
        read = reads.get(key, lambda key=key: getattr(found, key))()
        if isinstance(value, str):
            assert read == value
        else:
            np.testing.assert_allclose(read, value, rtol=1e-9, err_msg=key)


def test_old_assessments_are_read() -> None:
    found = pma.load(FOLDER / "transport.npz")
    stored = dict(found.stats["assessment"])
    assert stored == pytest.approx(dict(pma.assess(found)))
