"""`load`: whatever the package has saved, by the kind that its file names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from pma_grid.entropic.transport import EntropicTransport
from pma_grid.flow.flow import Flow
from pma_grid.inference.posterior import Posterior
from pma_grid.learning.model import Model
from pma_grid.runtime import InvalidInputError, storage
from pma_grid.transport.transport import Transport

Result = Transport | Flow | Model | Posterior

_KINDS: dict[str, Callable[[dict[str, NDArray[Any]], dict[str, Any]], Result]] = {
    "transport": Transport.from_stored,
    "entropic": EntropicTransport.from_stored,
    "flow": Flow.from_stored,
    "model": Model.from_stored,
    "posterior": Posterior.from_stored,
}


def load(path: str | os.PathLike[str]) -> Any:
    """Read a result that was saved to a file.

    Parameters
    ----------
    path : str or path
        A .npz that the method ``save`` of a result or a command of ``pma-grid`` wrote, in this
        version of the package or an earlier one.

    Returns
    -------
    Transport, EntropicTransport, Flow, Model or Posterior
        An object of the class that was saved: a `Transport` of `solve`, an `EntropicTransport` of
        `sinkhorn`, a `Flow` of `evolve` or `sinkhorn_flow`, a `Model` of `fit`, a `Posterior` of
        `infer`.  Type checkers take it as any of them; ``isinstance`` tells which it is.

    Raises
    ------
    InvalidInputError
        The file is missing, damaged, or holds something else.

    Examples
    --------
    >>> import tempfile, numpy as np, pma_grid as pma
    >>> ot = pma.solve(pma.Problem(1 + np.linspace(0, 1, 32), np.ones(32)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ot.save(folder + "/ot.npz")
    ...     pma.load(folder + "/ot.npz").w2 == ot.w2
    True
    """
    arrays, meta = storage.load(path)
    read = _KINDS.get(str(meta.get("kind")))
    if read is None:
        raise InvalidInputError(
            f"{path} holds no result; give a file that the save of a result wrote"
        )
    try:
        return read(arrays, meta)
    except KeyError as error:
        raise InvalidInputError(
            f"{path} lacks {error}; it is damaged: write it again with save"
        ) from None
