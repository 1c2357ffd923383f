"""The command line: studies of Sinkhorn's algorithm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def test_small_eps(cli: Any, tmp_path: Path) -> None:
    words = ("study", "small-eps", "--dim", "1", "--sizes", "48")
    text = cli.good(tmp_path, *words, "-o", "limit.png")
    assert "48 cells" in text
    with Image.open(tmp_path / "limit.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5
    out = cli.json(tmp_path, *words, "--kernel", "plain", "--json")
    assert (out["kernel"], out["shape"]) == ("plain", [48])


def test_bias_cost_and_starts(cli: Any, tmp_path: Path) -> None:
    out = cli.json(tmp_path, "study", "bias", "--dim", "1", "--sizes", "48", "--json")
    assert out["limit"] == pytest.approx(-0.5, abs=0.05)
    cli.good(tmp_path, "study", "cost", "--dim", "1", "--sizes", "32", "64", "-o", "cost.png")
    assert (tmp_path / "cost.png").exists()
    text = cli.good(tmp_path, "study", "warm-starts", "--sizes", "24")
    assert text.startswith("24x24 cells")


def test_refused(cli: Any, tmp_path: Path) -> None:
    refused = {
        "--dim is 3": ("small-eps", "--dim", "3"),
        "bias has no picture": ("bias", "-o", "bias.png"),
        "give one size": ("warm-starts", "--sizes", "16", "32"),
        ".docx": ("cost", "-o", "cost.docx"),
    }
    for words, arguments in refused.items():
        assert words in cli.refused(tmp_path, "study", *arguments)
