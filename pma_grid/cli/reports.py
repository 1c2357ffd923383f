"""What commands print of a result, whichever kind it is: `info` repeats it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pma_grid.cli import flow_report, transport_report
from pma_grid.cli.figures import aligned
from pma_grid.cli.generative_report import model_figures, model_rows, posterior_rows
from pma_grid.flow.flow import Flow
from pma_grid.inference.posterior import Posterior
from pma_grid.learning.model import Model


def report(
    result: Any, files: Sequence[str] = (), *, series: bool = False
) -> tuple[dict[str, Any], str]:
    """The figures of a result for JSON, those of a Flow with its series if asked for; its table."""
    if isinstance(result, Flow):
        figures, rows = flow_report.figures(result, series=series), flow_report.rows(result)
    elif isinstance(result, Model):
        figures, rows = (
            model_figures(result),
            model_rows(result),
        )
    elif isinstance(result, Posterior):
        figures = {"kind": "posterior"} | result.summary()
        rows = posterior_rows(result)
    else:
        figures, rows = transport_report.figures(result), transport_report.rows(result)
    return figures | {"files": list(files)}, aligned(rows, files)
