"""solve: the one loop over algorithm steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy
import torch
from torch import Tensor

from apheleia.algorithms.algorithm import Algorithm, State, merge
from apheleia.algorithms.certify import certify_point, certify_uniqueness, duality_gap, has_gap
from apheleia.algorithms.choose import alternatives, choose
from apheleia.algorithms.differentiate import Differentiation
from apheleia.algorithms.measure import Measure, in_float64
from apheleia.algorithms.stopping import Scales, Watch, has_grown
from apheleia.core.certificate import Certificate
from apheleia.core.errors import ArgumentError, NotConverged
from apheleia.core.interop import ArrayLike, as_tensor, is_number, to_numpy
from apheleia.core.report import History, Report, Status
from apheleia.operators.linear import LinearOperator
from apheleia.problem import Problem

__all__ = ["Callback", "solve"]

Callback = Callable[[State, Tensor], None]
"""Called after every step with the state and the latest residual, (*batch,); it must not change either."""

CURVE = 2
"""Ratio of the steps of two points of the convergence curve, whose objective costs an application of A."""

SPARSE, NEVER = 4, -1.0
"""Ratio of the steps of two looks at a run that stops at its last step only, and the tolerance that none meets before."""


def solve(
    problem: Problem,
    algorithm: Algorithm | None = None,
    x0: ArrayLike | None = None,
    *,
    tol: float = 1e-4,
    max_steps: int = 10_000,
    early_stopping: bool = True,
    diff: Differentiation | None = None,
    callbacks: Sequence[Callback] = (),
    throw: bool = True,
) -> tuple[ArrayLike, Report]:
    """Minimise a problem and return the answer with its report.

    Parameters
    ----------
    problem : Problem
        The objective.
    algorithm : Algorithm, optional
        Chosen from the problem's structure by default; the report says which and why.
    x0 : Tensor or ndarray, (*batch, *space), optional
        Where to begin; by default where the fidelity suggests. The batch is the broadcast of data, weights and `x0`.
    tol : float, default 1e-4
        Relative tolerance, above zero: on duality gap / |objective| where there is a finite gap, else on the optimality
        residual over its scale and on the decrease of the objective that the residual foretells.
    max_steps : int, default 10000
        Steps at most.
    early_stopping : bool, default True
        Whether an image stops where it meets the tolerance. Without, all run `max_steps`, the status says whether the tolerance
        is met at the end, and there are few looks on the way: one iteration for all parts of something larger, in bounded time.
    diff : Unrolled or Truncated, optional
        How to differentiate the answer with respect to parameters. Without one, steps run without gradients.
    callbacks : sequence of callable
        Called as callback(state, residual) after every step.
    throw : bool, default True
        Whether to raise where an image did not converge.

    Returns
    -------
    x : Tensor or ndarray, (*batch, *space)
        The answer; an ndarray where data or `x0` came as ndarrays.
    report : Report
        Status, certificates, residual, steps, time; `report[i]` for one image.

    Raises
    ------
    NotConverged
        If an image diverged or hit the step limit and `throw` is true; it carries `x` and `report`.
    CapabilityError
        If the algorithm cannot solve the problem; the sentence names what would.

    Examples
    --------
    >>> from apheleia.functionals import L1, LeastSquares
    >>> from apheleia.operators import Identity
    >>> x, report = solve(Problem(LeastSquares(Identity(), torch.tensor([[[3.0, 0.5]]])), L1()))
    >>> bool(torch.allclose(x, torch.tensor([[[2.0, 0.0]]]), atol=1e-3))
    True
    >>> report.status.name
    'CONVERGED'
    """
    if not (is_number(tol) and tol > 0):
        raise ArgumentError(f"solve: `tol` must be above zero; got {tol!r}.")
    if not isinstance(max_steps, int) or max_steps < 1:
        raise ArgumentError(f"solve: `max_steps` must be a whole number >= 1; got {max_steps!r}.")
    _check_arguments(problem, algorithm, diff, callbacks)
    from_numpy = problem.is_from_numpy or isinstance(x0, numpy.ndarray)
    lifted = problem.lifted()
    if lifted is not None:
        z0 = None if x0 is None else lifted[1]._adjoint(problem.start(as_tensor(x0, "solve", "x0")))
        limits = (tol, max_steps, early_stopping, diff, callbacks)
        return _solve_lifted(problem, *lifted, algorithm, z0, limits, throw)
    if algorithm is None:
        algorithm, why = choose(problem)
    else:
        algorithm.check(problem, alternatives(problem))
        why = "asked for"
    began = time.perf_counter()
    with torch.no_grad() if diff is None else nullcontext():
        start = problem.start(None if x0 is None else as_tensor(x0, "solve", "x0"))
        ready = problem.prepared(tuple(start.shape[start.ndim - problem.space.rank :]), start.dtype)
        state = algorithm.init(ready, start)
        with torch.no_grad():
            certificates = algorithm.certify(ready, state)
        if diff is None:
            hint = None if x0 is None else ready.f.start()
            state, watch, history = _run(ready, algorithm, state, (start, hint), (tol, max_steps, early_stopping), callbacks)
        else:
            state, watch, history = _run_fixed(ready, algorithm, state, diff, callbacks)
    seconds = time.perf_counter() - began
    report = _report(problem, algorithm, why, certificates, state, watch, history, None if diff else tol, seconds)
    x = to_numpy(state.x) if from_numpy else state.x
    if throw and report.status in (Status.MAX_STEPS, Status.DIVERGED):
        raise NotConverged(_sentence(report), x, report)
    return x, report


def _solve_lifted(
    problem: Problem,
    lifted: Problem,
    part: LinearOperator,
    algorithm: Algorithm | None,
    z0: Tensor | None,
    limits: tuple[float, int, bool, Differentiation | None, Sequence[Callback]],
    throw: bool,
) -> tuple[ArrayLike, Report]:
    """Solve over x and the auxiliary variables of its priors at once, and report on x.

    What is said of the pair's objective and of its convergence holds for x, because the minimum over the auxiliary variables
    is at most the value at the pair, with the same infimum. Uniqueness and distance are those of x alone.
    """
    tol, max_steps, early_stopping, diff, callbacks = limits
    z, report = solve(
        lifted,
        algorithm,
        z0,
        tol=tol,
        max_steps=max_steps,
        early_stopping=early_stopping,
        diff=diff,
        callbacks=callbacks,
        throw=False,
    )
    x = part(z)
    modulus = problem.strong_convexity(tuple(x.shape[x.ndim - problem.space.rank :]))
    of_x = in_float64(part._forward(report.x), ())[0]
    after = (certify_uniqueness(problem, modulus), *certify_point(problem, of_x, report.gap, modulus))
    claims = {certificate.claim for certificate in after}
    before = tuple(certificate for certificate in report.certificates if certificate.claim not in claims)
    report = replace(report, x=part._forward(report.x), certificates=before + after)
    if throw and report.status in (Status.MAX_STEPS, Status.DIVERGED):
        raise NotConverged(_sentence(report), x, report)
    return x, report


def _check_arguments(problem: object, algorithm: object, diff: object, callbacks: object) -> None:
    if not isinstance(problem, Problem):
        raise ArgumentError(f"solve: `problem` must be a Problem; got {type(problem).__name__}. Write Problem(f, g).")
    if algorithm is not None and not isinstance(algorithm, Algorithm):
        kind = type(algorithm).__name__
        got = f"the class {algorithm.__name__}; write {algorithm.__name__}()" if isinstance(algorithm, type) else f"a {kind}"
        raise ArgumentError(f"solve: `algorithm` must be an algorithm such as FISTA(); got {got}. Leave it out and it is chosen.")
    if diff is not None and not isinstance(diff, Differentiation):
        raise ArgumentError(f"solve: `diff` must be Unrolled(steps), Truncated(steps, last) or None; got {diff!r}.")
    if not isinstance(callbacks, Sequence) or not all(callable(callback) for callback in callbacks):
        raise ArgumentError(f"solve: `callbacks` must be functions in a list; got {type(callbacks).__name__}. Write [function].")


def _run(
    problem: Problem,
    algorithm: Algorithm,
    state: State,
    begin: tuple[Tensor, Tensor | None],
    limits: tuple[float, int, bool],
    callbacks: Sequence[Callback],
) -> tuple[State, Watch, History]:
    """Run until each image meets the tolerance or the steps run out; `limits` are tol, max_steps and early_stopping."""
    (tol, max_steps, early_stopping), space = limits, problem.space
    measure = Measure(problem, algorithm, state.x, tol)
    residual = measure(state)
    # a gap may be large for harmless reasons, such as a wide box: it is no sign of divergence
    scales = Scales.at(problem, *begin, torch.full_like(residual, torch.inf) if measure.by_gap else residual)
    watch = Watch.begin(residual)
    record, seen = [(0, problem.objective(state.x), residual)], 1
    while state.k < max_steps and bool(watch.active.any()):
        state = merge(watch.active, algorithm.step(problem, state), state)
        last = state.k == max_steps
        first = state.k == 1 and not state.duals
        tenth = state.k % algorithm.look_every == 0
        # a run that does not stop early looks rarely, unless something grows
        due = tenth if early_stopping else state.k >= SPARSE * seen or (tenth and bool(has_grown(state, scales, space).any()))
        if first or last or due:
            residual, seen = measure(state), state.k
            watch = watch.look(state, residual, tol if early_stopping or last else NEVER, scales, space)
            if last or state.k >= CURVE * max(record[-1][0], 2) or not bool(watch.active.any()):
                record.append((state.k, problem.objective(state.x), watch.residual))
        for callback in callbacks:
            callback(state, watch.residual)
    return state, watch, _history(record)


def _run_fixed(
    problem: Problem, algorithm: Algorithm, state: State, diff: Differentiation, callbacks: Sequence[Callback]
) -> tuple[State, Watch, History]:
    """Run exactly the steps of `diff`, the last ones with gradients; tolerance and step limit play no part."""
    for k in range(diff.steps):
        recording = k >= diff.steps - diff.recorded
        with nullcontext() if recording else torch.no_grad():
            state = algorithm.step(problem, state)
        with torch.no_grad():
            for callback in callbacks:
                callback(state, torch.full(problem.space.batch_shape(state.x), torch.nan))
    with torch.no_grad():
        residual = algorithm.residual(problem, state)
        objective = problem.objective(state.x)
    watch = Watch.begin(residual)
    finite = torch.isfinite(problem.space.norm(state.x.detach()))
    codes = torch.where(finite, Status.FIXED_STEPS.severity, Status.DIVERGED.severity)
    watch = replace(watch, codes=codes, steps=torch.full_like(watch.steps, state.k))
    return state, watch, _history([(state.k, objective, residual)])


def _history(record: list[tuple[int, Tensor, Tensor]]) -> History:
    steps, objective, residual = zip(*record, strict=True)
    return History(tuple(steps), torch.stack(objective), torch.stack(residual))


def _report(
    problem: Problem,
    algorithm: Algorithm,
    why: str,
    certificates: tuple[Certificate, ...],
    state: State,
    watch: Watch,
    history: History,
    tol: float | None,
    seconds: float,
) -> Report:
    """Return the account of the run; the gap is taken anew in float64 on the problem as the user stated it."""
    with torch.no_grad():
        x, duals = state.x.detach(), tuple(dual.detach() for dual in state.duals)
        precise, precise_duals = in_float64(x, duals)
        gap = duality_gap(problem, precise, precise_duals) if has_gap(problem) and problem.is_convex else None
        modulus = problem.strong_convexity(tuple(x.shape[x.ndim - problem.space.rank :]))
        certificates += (certify_uniqueness(problem, modulus), *certify_point(problem, precise, gap, modulus))
        # the last point of the curve is this one
        objective = history.objective[-1].detach() if x.dtype == precise.dtype else problem.objective(precise)
    return Report(
        algorithm=algorithm.name,
        why=why,
        certificates=certificates,
        x=x,
        duals=duals,
        codes=watch.codes,
        objective=objective,
        residual=watch.residual.detach(),
        gap=gap if gap is not None and bool(gap.isfinite().any()) else None,
        steps=watch.steps,
        tol=tol,
        seconds=seconds,
        history=history,
    )


def _sentence(report: Report) -> str:
    worst = report.residual.nan_to_num(torch.inf).max().item()
    convergence = report.certificate("convergence")
    backing = "" if convergence is None else f"; convergence {convergence.status}: {convergence.why}"
    failed = int((report.codes >= Status.MAX_STEPS.severity).sum())
    count = f" for {failed} of {report.codes.numel()} images" if report.batch_shape else ""
    return (
        f"{report.algorithm}: {report.status.name}{count}, residual {worst:.3g} (tolerance {report.tol}) "
        f"after {int(report.steps.max())} steps{backing}. In short: {report.status.message}. "
        "The error carries `x` and `report`; throw=False returns them."
    )
