"""`sinkhorn`: entropic optimal transport between two densities on grids."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, get_args

from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from pma_grid.entropic.dense.outcome import DenseOutcome
from pma_grid.entropic.dense.stages import Settings, solve_dense
from pma_grid.entropic.iteration import Iteration
from pma_grid.entropic.multiscale.descent import DEFAULT_EPS_CELLS, solve_multiscale
from pma_grid.entropic.transport import EntropicTransport
from pma_grid.kernels.compilation import CompileClock
from pma_grid.problem.problem import Problem, check_problem
from pma_grid.problem.reduction import Reduced, Reduction, check_eps
from pma_grid.runtime import (
    Array,
    InvalidInputError,
    check_choice,
    check_inside,
    check_positive,
    check_threads,
    check_whole,
    versions,
)
from pma_grid.runtime.progress import reporter
from pma_grid.transport.potential import checked_potential
from pma_grid.transport.transport import HasTransport, Transport

Method = Literal["dense", "multiscale"]
Kernel = Literal["plain", "reflect"]
Map = Literal["barycentric", "debiased"]
Precision = Literal["float64", "float32"]
# Tolerances of `tol=None`, by method and precision.
DENSE_TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
MULTISCALE_TOLERANCE = 1e-4
# Iterations of `max_iterations=None`: sweeps, and the multiscale cycles of several sweeps.
MOST_ITERATIONS = {"dense": 10_000, "multiscale": 1000}


def sinkhorn(
    problem: Problem,
    eps: float | None = None,
    *,
    tol: float | None = None,
    max_iterations: int | None = None,
    initial: Transport | HasTransport | ArrayLike | None = None,
    method: Method = "dense",
    kernel: Kernel = "plain",
    map: Map = "barycentric",
    relaxation: float | None = None,
    scaling: bool = True,
    dtype: Precision = "float64",
    threads: int = 1,
    progress: bool = False,
    callback: Callable[[Iteration], None] | None = None,
) -> EntropicTransport:
    """Entropic optimal transport, min E|x - y|^2/2 + eps KL(P | mu x nu), by Sinkhorn's algorithm.

    Use it where a plan is wanted, or densities have exact zeros and the map is torn.  The cells of
    both grids count as atoms at their centres, and the optimal plan is
    dP = exp((f(x) + g(y) - |x - y|^2/2) / eps) dmu dnu; u = |x|^2/2 - f tends to the Brenier
    potential as eps falls.

    Parameters
    ----------
    problem : Problem
        The two densities.  Their grids may differ in shape and in box.  Exact zeros carry no mass;
        no floor is applied.
    eps : float, optional
        Strength of the regularisation, in length^2, for the cost |x - y|^2/2.  The default is h^2
        for the dense and h^2/2 for the multiscale method, where h^2 is the product of the spacings
        of the two grids: the largest over the axes (dense), or their geometric mean (multiscale).
        The same eps is 2 eps as POT's ``reg`` and OTT's ``epsilon`` (their cost is |x - y|^2), and
        sqrt(eps) as GeomLoss's ``blur`` (p = 2).
    tol : float, optional
        L1 error of the plan's marginals at which to stop.  The default is 1e-9 for the dense method
        (1e-5 in float32), and 1e-4 for the multiscale method.
    max_iterations : int, optional
        How many iterations are allowed on the finest grid at the eps asked for.  The default is
        10 000 sweeps of the dense method, or 1000 cycles of the multiscale method.
    initial : Transport, Flow or array_like of shape ``source.shape``, optional
        A potential u to start from.  The dense method then begins on the finest grid, at the eps
        asked for; of a flow its last potential is taken.
    method : {"dense", "multiscale"}
        "dense" sums over all pairs of cells through separable kernels, and suits every eps down to
        about h^2/4.  "multiscale" keeps the pairs that carry mass alone, from coarse to fine grids,
        and suits small eps (4 h^2 to 0.03 h^2), exact zeros and torn maps; its potential is the
        hard (unregularised) one.
    kernel : {"plain", "reflect"}
        "reflect" sums the Gibbs kernel over the images of the box reflected at its faces.  The map
        then is first order in eps up to the faces, where that of the plain kernel is off by
        sqrt(eps).  Dense method only.
    map : {"barycentric", "debiased"}
        What ``gradient`` is: the conditional mean E[y | x], or the gradient of the debiased
        potential |x|^2/2 - (f - f_mu), where f_mu is the potential of mu to itself; this one is
        second order in eps in the interior.  Dense method only.
    relaxation : float in (0, 2), optional
        Factor of the over-relaxation.  None finds it on the way; 1 gives Sinkhorn's own sweeps.
        Dense method only.
    scaling : bool
        Whether to begin on coarse grids and at large eps.  The multiscale method always does.
    dtype : {"float64", "float32"}
        Precision of the kernel sums.  With float32 their relative error is about 1e-6; the marginal
        error cannot fall much below that, and f and g are right to about 1e-6 eps.  Dense method
        only.
    threads : int
        Number of threads for matrix products (BLAS) and sums.  More than one pays on large grids
        and idle cores only.
    progress : bool
        Whether to show a progress line on standard error.
    callback : callable, optional
        Function that receives an `Iteration` after each iteration.

    Returns
    -------
    EntropicTransport
        Its ``status`` is ENTROPIC; or NARROW_KERNEL where sqrt(eps) is less than a cell along an
        axis (dense method: narrow kernels are what the multiscale method is for); or MAX_ITERATIONS
        where ``tol`` was not met.

    Raises
    ------
    InvalidInputError
        An argument is out of its range.

    Notes
    -----
    Potentials are kept as logarithms, and kernel products that could underflow are replaced by sums
    in windows, so that no eps is too small.  An iteration of the dense method on n^d cells costs
    O(n^{d+1}) operations, or O(n^d sqrt(eps)/h) for small eps.  ``stats.primal`` is the value of
    the plan as it is, whose target marginal misses nu by ``stats.marginal_error``.

    References
    ----------
    Cuturi (2013), Sinkhorn distances, arXiv:1306.0895.  Schmitzer (2019), Stabilized sparse scaling
    algorithms for entropy regularized transport problems, SIAM J. Sci. Comput. 41, A1443.
    doi:10.1137/16M1106018.  Feydy et al. (2019), Interpolating between optimal transport and MMD
    using Sinkhorn divergences, arXiv:1810.08278.

    Examples
    --------
    >>> import numpy as np, pma_grid as pma
    >>> x = (np.arange(64) + 0.5) / 64
    >>> sk = pma.sinkhorn(pma.Problem(np.ones(64), 2 * x), eps=1e-3)
    >>> str(sk.status), round(sk.w2_squared, 3)   # W2^2 = 1/30
    ('entropic', 0.033)
    """
    _check_choices(method=method, kernel=kernel, map=map, dtype=dtype)
    most = MOST_ITERATIONS[method] if max_iterations is None else max_iterations
    _check_numbers(problem, eps, tol, most, relaxation, threads)
    start = None if initial is None else _start(problem, initial)
    goal = DENSE_TOLERANCE[dtype] if tol is None else tol
    if method == "multiscale":
        _check_dense_only(kernel, map, relaxation, scaling, dtype)
        goal = MULTISCALE_TOLERANCE if tol is None else tol
    settings = Settings(
        goal, most, omega=relaxation, threads=threads,
        reflect=kernel == "reflect", single=dtype == "float32", scaling=scaling,
    )  # fmt: skip
    with reporter(progress, callback) as show, threadpool_limits(threads, user_api="blas"):
        started = time.perf_counter()
        with CompileClock() as clock:
            if method == "multiscale":
                sk = _multiscale(problem, eps, settings, start, show)
            else:
                sk = _dense(problem, eps, settings, start, map, show)
        sk.stats.seconds = time.perf_counter() - started - clock.seconds
        sk.stats.compile_seconds, sk.stats.versions = clock.seconds, versions()
    return sk


def _dense(
    problem: Problem,
    eps: float | None,
    settings: Settings,
    start: Transport | None,
    map: str,
    show: Callable[[Any], None],
) -> EntropicTransport:
    """Solve with separable kernels and put the result together."""
    reduced = Reduced.of(problem)
    value = reduced.widest_cell if eps is None else float(eps)

    def report(step: int, error: float) -> None:
        show(Iteration(problem.source.shape, step, error, value))

    f = None if start is None else _reduced_start(problem, start)
    at, levels = solve_dense(reduced, value, settings, initial=f, report=report)
    solved = DenseOutcome(problem, reduced, value, at, settings)
    if map == "debiased":
        solved.debias()
    sk = solved.transport()
    sk.stats.map, sk.stats.levels = map, levels
    return sk


def _multiscale(
    problem: Problem,
    eps: float | None,
    settings: Settings,
    start: Transport | None,
    show: Callable[[Any], None],
) -> EntropicTransport:
    """Solve between the pairs that carry mass, with the history that dense results have."""
    errors: list[float] = []

    def report(iteration: Iteration) -> None:
        if iteration.step == 1:
            errors.clear()  # of a coarser grid
        errors.append(iteration.residual)
        show(iteration)

    reduced = Reduced.of(problem)
    sk = solve_multiscale(
        problem, reduced, DEFAULT_EPS_CELLS * reduced.cell if eps is None else float(eps),
        tol=settings.tol, max_iterations=settings.max_iterations, threads=settings.threads,
        initial=None if start is None else -start.phi,
        report=report,
    )  # fmt: skip
    sk.stats.history = errors
    return sk


def _start(problem: Problem, initial: Transport | HasTransport | ArrayLike) -> Transport:
    """A transport to start from, on a source grid of the problem's shape."""
    given = initial.transport if isinstance(initial, HasTransport) else initial
    values = given.potential if isinstance(given, Transport) else given
    checked = checked_potential(problem, values, "initial")
    return given if isinstance(given, EntropicTransport) else Transport(problem, checked)


def _reduced_start(problem: Problem, start: Transport) -> Array:
    """Reduced f of a transport to start from: of an entropic one its own, biased as it is."""
    if isinstance(start, EntropicTransport):
        return Reduction(problem).reduced(start.source_potential)
    return -start.phi


def _check_choices(**chosen: Any) -> None:
    """Words must be among those known."""
    known = {"method": Method, "kernel": Kernel, "map": Map, "dtype": Precision}
    for name, value in chosen.items():
        check_choice(value, get_args(known[name]), name)


def _check_dense_only(
    kernel: str, map: str, relaxation: float | None, scaling: bool, dtype: str
) -> None:
    """What the multiscale method has no use for must not be asked of it."""
    asked = {
        "kernel": (kernel, "plain"), "map": (map, "barycentric"), "relaxation": (relaxation, None),
        "scaling": (bool(scaling), True), "dtype": (dtype, "float64"),
    }  # fmt: skip
    for name, (value, only) in asked.items():
        if value != only:
            raise InvalidInputError(
                f"{name} is {value!r} with method='multiscale', which knows {name}={only!r} only; "
                "take method='dense'"
            )


def _check_numbers(
    problem: Any, eps: Any, tol: Any, max_iterations: Any, relaxation: Any, threads: Any
) -> None:
    """Kinds and ranges of the numbers."""
    check_problem(problem)
    if eps is not None:
        check_eps(problem, eps)
    if tol is not None:
        check_positive(tol, "tol", "the L1 error of the marginals, for example 1e-6")
    if relaxation is not None:
        check_inside(relaxation, 0, 2, "relaxation", "1 gives Sinkhorn's sweeps")
    check_whole(max_iterations, 1, "max_iterations", "leave it at its default")
    check_threads(threads)
