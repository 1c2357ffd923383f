"""The bar of a flow: the share of the way to the nearest end."""

import io

import pytest

from pma_grid.runtime.progress import time_bar, way

START = (10, 1.0, 1.0)


@pytest.mark.parametrize(
    ("now", "ends", "share"),
    [
        ((15, 1.0, 1.0), (20, None, None), 0.25),
        ((15, 1.5, 1.0), (None, 3.0, None), 0.25),
        ((15, 1.5, 1e-2), (None, None, 1e-8), 0.25),
        ((15, 2.0, 1e-2), (20, 3.0, 1e-8), 0.5),
        ((15, 2.0, 10.0), (None, None, 1e-8), 0.0),  # the residual rose
        ((15, 2.0, 0.0), (None, None, 1e-8), 0.0),
        ((40, 2.0, 1.0), (20, None, None), 1.0),
        ((10, 1.0, 1.0), (0, 0.5, 2.0), 0.0),  # ends that are behind already
    ],
)
def test_share_of_the_way(
    now: tuple[int, float, float],
    ends: tuple[int | None, float | None, float | None],
    share: float,
) -> None:
    assert way(START, now, ends) == pytest.approx(share)


def test_the_bar_shows_step_time_and_residual(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with time_bar(True, 4, None, 1e-8) as show:
        for k in range(5):
            show(k, 0.1 * k, 1.0)
    assert "step 0, t = 0, residual 1.0e+00" in stream.getvalue()


def test_no_bar_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with time_bar(False, 4, None) as show:
        show(0, 0.0, 1.0)
    assert stream.getvalue() == ""
