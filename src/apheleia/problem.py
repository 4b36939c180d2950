"""Problem: minimise f(x) + g(x) + sum_i h_i(K_i x), sorted by what algorithms can do with each part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy
import torch
from torch import Tensor, nn

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, CapabilityError, ShapeError
from apheleia.core.interop import accepts_numpy
from apheleia.core.space import Space, batch_shape, common_space, expand_batch
from apheleia.functionals.auxiliary import Auxiliary, auxiliary
from apheleia.functionals.calculus import Sum
from apheleia.functionals.functional import Functional
from apheleia.operators.channel_blocks import ChannelBlocks
from apheleia.operators.identity import Identity
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import Operator

__all__ = ["Problem", "Term"]

Term = tuple[Functional, LinearOperator]


class Problem(nn.Module):
    """minimise over x   f(x) + g(x) + sum_i h_i(K_i x).

    The parts are sorted once: those taken by their gradient, at most one with an exact proximal map, and terms (h, K) with
    proximable h. A functional that is neither smooth nor exactly proximable goes to the terms by its own split: total variation
    as (group l1, differences), a non-smooth fidelity as (loss, A). One whose gradient is not known to be Lipschitz, such as
    least squares of a non-linear A, is taken by it where there is no other way, and is then among the `unbounded`. A prior that
    is a minimum over an auxiliary variable waits for `lifted`, which `solve` calls.

    Parameters
    ----------
    f : Functional
        Usually the fidelity.
    g : Functional, optional
        A prior on x.
    terms : sequence of (Functional, LinearOperator)
        Pairs (h, K) for priors on K x.
    auxiliaries : sequence of Auxiliary
        Set by `lifted` alone: whose terms the last ones are, to find duals that bound the minimum from below.

    Raises
    ------
    ArgumentError
        If a part is no functional, or a term no pair of a functional and a linear operator.
    ShapeError
        If the spaces or the batch axes do not fit together.
    CapabilityError
        If a part is neither smooth nor proximable nor split.

    Examples
    --------
    >>> from apheleia.functionals import LeastSquares, TotalVariation
    >>> problem = Problem(LeastSquares(Identity(), torch.zeros(1, 4, 4)), 0.1 * TotalVariation())
    >>> print(problem.formula)
    minimise over x:  1/2 |x - y|² + 0.1 TV(x)
    """

    def __init__(
        self, f: Functional, g: Functional | None = None, terms: Sequence[Term] = (), *, auxiliaries: Sequence[Auxiliary] = ()
    ) -> None:
        super().__init__()
        for name, part in (("f", f), ("g", g)):
            if part is not None and not isinstance(part, Functional):
                raise ArgumentError(f"Problem: `{name}` must be a functional; got {type(part).__name__}. {_advice(part)}")
        if not isinstance(terms, Sequence) or not all(_is_term(term) for term in terms):
            got = type(terms).__name__ if not isinstance(terms, Sequence) else [_kind(term) for term in terms]
            raise ArgumentError(f"Problem: `terms` must be pairs (functional, linear operator) in a list; got {got}.")
        for h, K in terms:
            if not h.space.accepts(K.codomain.shape):
                fault = f"{h.name} takes ({h.space}), {K.name} gives ({K.codomain})"
                raise ShapeError(f"Problem: the term ({h.name}, {K.name}) does not fit: {fault}.")
        self.f = f
        self.g = g
        self.terms = tuple(terms)
        self.auxiliaries = tuple(auxiliaries)
        self._term_modules = nn.ModuleList([nn.ModuleList(term) for term in terms])
        functionals = (f,) if g is None else (f, g)
        spaces = [f.space for f in functionals] + [K.domain for _, K in terms]
        self.space: Space = reduce(lambda a, b: common_space(a, b, "Problem"), spaces)
        parts = _joined([p for part in functionals for p in part.parts])
        self.non_smooth = tuple(part for part in parts if not _by_gradient(part))
        self.smooth, self.simple, self.split_terms = _sorted(parts, self.terms, self.space)
        self.unbounded = tuple(part for part in self.smooth if not part.is_smooth)
        # batch axes that do not fit are refused here, and not in the middle of a run
        _ = self.batch_shape

    @property
    def formula(self) -> str:
        """The objective as a reader writes it."""
        parts = [f.formula for f in (self.f, self.g) if f is not None]
        parts += [h.formula.replace("x", f"{K.name} x") for h, K in self.terms]
        return "minimise over x:  " + " + ".join(parts)

    @property
    def is_convex(self) -> bool:
        """Whether every part is convex, but for weakly convex smooth ones that strongly convex smooth ones make up for."""
        rest = [part for part in self._parts() if not part.is_convex]
        if not rest or not all(part.is_weakly_convex and part in self.smooth for part in rest) or not self.space.is_fixed:
            return not rest
        left = self.smooth_convexity(tuple(size for size in self.space.shape if size is not None))
        return left.is_lower and bool((left.value >= 0).all())

    @property
    def non_smooth_names(self) -> list[str]:
        """The names of the parts and terms that are not taken by their gradient, for messages."""
        return [part.name for part in self.non_smooth] + self.term_names

    @property
    def term_names(self) -> list[str]:
        """The names of the h of the stated terms that are not taken by their gradient, for messages."""
        return [h.name for h, _ in self.terms if not all(_by_gradient(part) for part in h.parts)]

    @property
    def is_from_numpy(self) -> bool:
        """Whether the data came as ndarrays, so that answers are ndarrays."""
        return any(part.is_from_numpy for part in self._parts())

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Broadcast of the batch axes of data, weights and noise levels."""
        return batch_shape(*(part.batch_shape for part in self._parts()), who="Problem")

    def _parts(self) -> list[Functional]:
        return [*self.smooth, *([] if self.simple is None else [self.simple]), *(h for h, _ in self.split_terms)]

    @accepts_numpy
    def forward(self, x: Tensor) -> Tensor:
        """Return the objective of each sample, (*batch,)."""
        return self.objective(self.space.check(x, "Problem", "x"))

    def objective(self, x: Tensor) -> Tensor:
        """Return f(x) + g(x) + sum_i h_i(K_i x) for a tensor (*batch, *space), (*batch,)."""
        energies = [part._value(x) for part in (self.f, self.g) if part is not None]
        return reduce(torch.add, energies + [h._value(K._forward(x)) for h, K in self.terms])

    def smooth_grad(self, x: Tensor) -> Tensor:
        """Return the gradient of the smooth parts, zero where there are none, (*batch, *space)."""
        return reduce(torch.add, [part._grad(x) for part in self.smooth]) if self.smooth else torch.zeros_like(x)

    def smooth_value_and_grad(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return energy and gradient of the smooth parts, (*batch,) and (*batch, *space), for less than the price of both."""
        if not self.smooth:
            return self.smooth_value(x), torch.zeros_like(x)
        values, gradients = zip(*(part._value_and_grad(x) for part in self.smooth), strict=True)
        return reduce(torch.add, values), reduce(torch.add, gradients)

    def smooth_value(self, x: Tensor) -> Tensor:
        """Return the energy of the smooth parts, (*batch,)."""
        zero = torch.zeros(self.space.batch_shape(x), dtype=x.real.dtype, device=x.device)
        return reduce(torch.add, [part._value(x) for part in self.smooth], zero)

    def smoothness(self, shape: tuple[int, ...]) -> Bound:
        """Return the Lipschitz constant of the smooth parts' gradient.

        Raises
        ------
        CapabilityError
            If a part is not known to have one.
        """
        if not self.smooth:
            return Bound(0.0, "exact", "no smooth part")
        return Bound.sum([part.smoothness(shape) for part in self.smooth])

    def smooth_convexity(self, shape: tuple[int, ...]) -> Bound:
        """Return the smooth parts' modulus of strong convexity, less what the weakly convex ones among them take of it.

        A lower bound where all parts know theirs; below zero where more is taken than there is.
        """
        known = [part.strong_convexity(shape) for part in self.smooth if part.is_strongly_convex]
        bounds = [bound for bound in known if bound.is_lower]
        strong = Bound.sum(bounds, side="lower") if bounds else Bound(0.0, "lower", "no part is strongly convex")
        rest = [part for part in self.smooth if not part.is_convex]
        if not rest:
            return strong
        if not all(part.is_weakly_convex for part in rest):
            return Bound(0.0, "estimate", "a part is not convex, and how far from it is not known")
        weak = Bound.sum([part.weak_convexity(shape) for part in rest])
        safe = strong.is_lower and weak.is_upper
        return Bound(strong.value - weak.value, "lower" if safe else "estimate", f"({strong.how}) less ({weak.how})")

    def strong_convexity(self, shape: tuple[int, ...]) -> Bound:
        """Return a lower bound of a convex objective's modulus of strong convexity."""
        own = self.smooth_convexity(shape)
        bounds = [Bound(own.value.clamp(min=0), own.kind, own.how)] if bool((own.value > 0).any()) else []
        if self.simple is not None and self.simple.is_strongly_convex:
            bounds.append(self.simple.strong_convexity(shape))
        for h, K in self.split_terms:
            if h.is_strongly_convex:
                inner = h.strong_convexity(K.output_shape(shape))
                bounds.append(Bound.product([inner, K.smallest_singular_value(shape).squared()], side="lower"))
        return Bound.sum(bounds, side="lower") if bounds else Bound(0.0, "lower", "no part is strongly convex")

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> Problem:
        """Return the same problem with all that depends only on the signal's shape and precision computed once."""
        terms = [(h.prepared(K.output_shape(shape), dtype), K.prepared(shape, dtype)) for h, K in self.terms]
        g = None if self.g is None else self.g.prepared(shape, dtype)
        ready = Problem(self.f.prepared(shape, dtype), g, terms, auxiliaries=self.auxiliaries)
        # what a part splits into is prepared too: a fidelity's own operator
        ready.split_terms = tuple(
            (h.prepared(K.output_shape(shape), dtype), K.prepared(shape, dtype)) for h, K in ready.split_terms
        )
        return ready

    def lifted(self) -> tuple[Problem, LinearOperator] | None:
        """Return the problem over x and the auxiliary variables of its priors at once, and the map from the stack to x.

        min_x f(x) + F(x) with F(x) = min_w G(x, w) is min_(x, w) f(x) + G(x, w): the x of a minimising pair is a minimiser, and
        the objective of a pair is never below that of its x. The stack (x, w, ...) runs along the channels. None where no
        prior has an auxiliary variable.
        """
        parts = [p for part in (self.f, self.g) if part is not None for p in part.parts]
        pairs = [(p, auxiliary(p)) for p in parts]
        own = [extra for _, extra in pairs if extra is not None]
        if not own:
            return None
        total = 1 + sum(extra.blocks for extra in own)
        channels, *rest = self.space.shape
        stacked = Space((None if channels is None else total * channels, *rest), self.space.is_complex)
        part = ChannelBlocks(total, [0], stacked)
        plain = [p @ part for p, extra in pairs if extra is None]
        if not plain:
            raise CapabilityError(f"Problem: {self.f.name} alone has nothing to be minimised against; add a fidelity.")
        terms, first = [(h, K @ part) for h, K in self.terms], 1
        for extra in own:
            stack = ChannelBlocks(total, [0, *range(first, first + extra.blocks)])
            terms += [(h, K if len(own) == 1 else K @ stack) for h, K in extra.terms]
            first += extra.blocks
        f = plain[0] if len(plain) == 1 else Sum(plain)
        return Problem(f, None, terms, auxiliaries=own), part

    def feasible(self, duals: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return duals, one a term, for which the minimum over auxiliary variables is finite; the same without any."""
        first = len(duals) - 2 * len(self.auxiliaries)
        own = zip(self.auxiliaries, duals[first::2], duals[first + 1 :: 2], strict=True)
        pairs = [extra.feasible((p, q)) for extra, p, q in own]
        return (*duals[:first], *(dual for pair in pairs for dual in pair))

    def start(self, x0: Tensor | None = None) -> Tensor:
        """Return the point to begin from with the full batch shape: `x0`, or what the fidelity suggests.

        Raises
        ------
        ArgumentError
            If there is no suggestion and no `x0`.
        ShapeError
            If `x0` does not fit.
        """
        parts = [part for part in (self.f, self.g) if part is not None]
        hints = (hint for hint in (part.start() for part in parts) if hint is not None)
        x = next(hints, None) if x0 is None else self.space.check(x0, "solve", "x0")
        if x is None:
            raise ArgumentError(f"solve: {self.f.name} suggests no point to begin from; give `x0`, (*batch, {self.space}).")
        batch = batch_shape(self.batch_shape, self.space.batch_shape(x), who="Problem")
        return expand_batch(x, batch, self.space.rank)


def _sorted(
    parts: list[Functional], terms: tuple[Term, ...], space: Space
) -> tuple[tuple[Functional, ...], Functional | None, tuple[Term, ...]]:
    """Return smooth parts, the one with an exact proximal map, and the terms."""
    smooth = tuple(part for part in parts if _by_gradient(part))
    simple: Functional | None = None
    split: list[Term] = []
    extra: list[Term] = []
    for part in (part for part in parts if not _by_gradient(part)):
        if part.has_exact_prox and simple is None:
            simple = part
        elif auxiliary(part) is not None:
            extra.append((part, Identity(space)))
        elif part.split is not None:
            split.append(_split(*part.split))
        elif part.is_proximable:
            split.append((part, Identity(space)))
        else:
            raise CapabilityError(
                f"Problem: {part.name} is neither smooth nor proximable, and has no split (h, K). Declare is_smooth with "
                "`_smoothness`, is_differentiable, or is_proximable with `_prox`; linearise a non-linear A, A.linearize(x)."
            )
    pairs = [(part, K) for h, K in terms for part in h.parts]
    smooth += tuple(h @ K for h, K in pairs if _by_gradient(h))
    for h, K in (_split(*pair) for pair in pairs if not _by_gradient(pair[0])):
        if not h.is_proximable:
            raise CapabilityError(f"Problem: the term ({h.name}, {K.name}) needs a proximable or smooth h; {h.name} is neither.")
        split.append((h, K))
    return smooth, simple, (*split, *extra)


def _joined(parts: list[Functional]) -> list[Functional]:
    """Return the parts, those with exact proximal maps on segments of x that do not overlap as one: their sum has one too."""
    apart = [part for part in parts if part.has_exact_prox and len(part.blocks) == 1 and not _by_gradient(part)]
    if len(apart) < 2 or not Sum(apart).has_exact_prox:
        return parts
    return [part for part in parts if part not in apart] + [Sum(apart)]


def _advice(part: object) -> str:
    """Return what to write instead of something that is no functional."""
    if isinstance(part, Operator | torch.Tensor | numpy.ndarray):
        return "An operator and its data make one: LeastSquares(A, y)."
    if isinstance(part, int | float):
        return "A weight stands before its prior: 0.1 * TotalVariation()."
    return "Several are added: F + G." if isinstance(part, Sequence) else "Such as LeastSquares(A, y) and TotalVariation()."


def _is_term(term: object) -> bool:
    if not isinstance(term, Sequence) or len(term) != 2:
        return False
    return isinstance(term[0], Functional) and isinstance(term[1], LinearOperator)


def _kind(term: object) -> str:
    return f"({', '.join(type(part).__name__ for part in term)})" if isinstance(term, Sequence) else type(term).__name__


def _by_gradient(part: Functional) -> bool:
    """Return whether a part is taken by its gradient: a smooth one always, another one where nothing else serves."""
    return part.is_smooth or (part.is_differentiable and not part.has_exact_prox and part.split is None)


def _split(h: Functional, K: LinearOperator) -> Term:
    """Return the term with an h whose proximal map is exact, where its own split leads to one: TV(K x) is |D K x|_{2,1}."""
    while not h.has_exact_prox and h.split is not None:
        h, inner = h.split
        K = inner if isinstance(K, Identity) else inner @ K
    return h, K
