"""Phase retrieval: intensities |B x|^2 of a complex field, their derivatives by hand, and a start from their spectrum."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError
from apheleia.core.interop import accepts_numpy
from apheleia.core.space import Space, as_size, per_sample
from apheleia.operators.linear import LinearOperator
from apheleia.operators.multi_coil_mri import MultiCoilMRI
from apheleia.operators.operator import Operator

__all__ = ["PhaseRetrieval", "coded_diffraction", "spectral_initialization"]


@final
class PhaseRetrieval(Operator):
    """x -> |B x|^2, entry by entry: what a detector records of a field B x whose phase it cannot see.

    J(x) v = 2 Re(conj(B x) B v) and J(x)^H w = 2 B^H (w B x).

    Parameters
    ----------
    B : LinearOperator
        From the unknown, complex or real, to the field.

    Raises
    ------
    ArgumentError
        If B is not linear.

    Notes
    -----
    A global phase of x cannot be known: x and x exp(i t) have the same data. `linearize(x)` computes the field once for all
    applications of the derivative; its norm is at most 2 max |B x| |B|.

    Examples
    --------
    >>> from apheleia.operators import Matrix
    >>> PhaseRetrieval(Matrix(torch.tensor([[3j, 4.0]])))(torch.tensor([1.0, 1.0]))
    tensor([25.])
    """

    def __init__(self, B: LinearOperator) -> None:
        if not isinstance(B, LinearOperator):
            raise ArgumentError(f"PhaseRetrieval: `B` must be a linear operator; got {type(B).__name__}.")
        super().__init__(B.domain, Space(B.codomain.shape))
        self.B = B

    def _forward(self, x: Tensor) -> Tensor:
        return _intensity(self.B._forward(x))

    def _jvp(self, x: Tensor, v: Tensor) -> Tensor:
        return 2 * _real_product(self.B._forward(x), self.B._forward(v))

    def _vjp(self, x: Tensor, w: Tensor) -> Tensor:
        return self.B._adjoint(2 * w * self.B._forward(x))

    @accepts_numpy
    def linearize(self, x: Tensor) -> LinearOperator:
        """Return the derivative J(x), with B x computed once.

        Parameters
        ----------
        x : Tensor, (*batch, *domain)
            Where.
        """
        return _FieldDerivative(self.B, self.B._forward(self.domain.check(x, f"{self.name}.linearize", "x")))

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.B._output_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.B._input_shape(shape)


@final
class _FieldDerivative(LinearOperator):
    """v -> 2 Re(conj(z) B v) at a known field z = B x."""

    def __init__(self, B: LinearOperator, field: Tensor) -> None:
        super().__init__(B.domain, Space(B.codomain.shape))
        self.B = B
        self.field = field

    @property
    def name(self) -> str:
        return "the derivative of PhaseRetrieval"

    def _forward(self, x: Tensor) -> Tensor:
        return 2 * _real_product(self.field, self.B._forward(x))

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.B._adjoint(2 * y * self.field)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound | None:
        bound = self.B._norm(shape)
        peak = Bound(2 * self.field.abs().amax(self.codomain.axes), "exact", "twice the largest |B x|")
        # a product of exact norms is an upper bound
        return None if bound is None else Bound.product([peak, bound], "product")

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.B._output_shape(shape)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.B._input_shape(shape)


@accepts_numpy
def spectral_initialization(
    A: PhaseRetrieval, y: Tensor, *, steps: int = 100, generator: torch.Generator | None = None
) -> Tensor:
    """Return a start for phase retrieval: the leading eigenvector of B^H diag(1 - 1 / u) B, u = y / mean y, scaled to the data.

    Large intensities say that a row of B is like x, small ones that it is orthogonal to x; u is kept above 0.2, so that noise
    in the dark does not decide.

    Parameters
    ----------
    A : PhaseRetrieval
        How the intensities are formed.
    y : Tensor or ndarray, (*batch, *codomain)
        The intensities; negative ones, which are noise, count as zero.
    steps : int, default 100
        Power iterations, at least one.
    generator : torch.Generator, optional
        Source of the random vector to begin from, the same for all samples; a fixed seed by default.

    Returns
    -------
    Tensor, (*batch, *domain)
        The start, with the scale whose intensities fit y best; its global phase is arbitrary.

    Raises
    ------
    ArgumentError
        If `steps` is below one.
    ShapeError
        If `y` does not live in the codomain.

    Notes
    -----
    An estimate, near x up to a phase where rows are random and several times more than unknowns.
    Source: for weights of this form see W. Luo, W. Alghamdi, Y. Lu, Optimal spectral initialization for signal recovery with
    applications to phase retrieval (2018), arXiv:1811.04420.
    """
    if not isinstance(A, PhaseRetrieval):
        raise ArgumentError(f"spectral_initialization: `A` must be a PhaseRetrieval; got {type(A).__name__}.")
    if steps < 1:
        raise ArgumentError(f"spectral_initialization: `steps` must be at least 1; got {steps}.")
    y = A.codomain.check(y, "spectral_initialization", "y").clamp(min=0)
    space, axes = A.domain, A.codomain.axes
    shape = A.input_shape(tuple(y.shape[y.ndim - A.codomain.rank :]))
    level = y.mean(axes, keepdim=True)
    weights = 1 - 1 / (y / torch.where(level > 0, level, 1.0)).clamp(min=0.2)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    start = Space(shape, space.is_complex).randn(generator=generator, dtype=y.dtype).to(y.device)
    start = start.expand(*A.codomain.batch_shape(y), *shape)

    def weighted(x: Tensor) -> Tensor:
        return A.B._adjoint(weights * A.B._forward(x))

    # shifted by about its spectral radius the matrix has its largest eigenvalue also as that of largest modulus
    radius = _power(weighted, start, space, 20)[1]
    x = _power(lambda x: weighted(x) + per_sample(radius, x, space.rank) * x, start, space, steps)[0]
    image = A._forward(x)
    energy = (image * image).sum(axes)
    scale = ((image * y).sum(axes) / torch.where(energy > 0, energy, 1.0)).sqrt()
    return x * per_sample(scale, x, space.rank)


def _power(apply: Callable[[Tensor], Tensor], x: Tensor, space: Space, steps: int) -> tuple[Tensor, Tensor]:
    """Return a unit vector after `steps` power iterations, and how much the last of them enlarged it, (*batch,)."""
    size = space.norm(x)
    for _ in range(steps):
        x = apply(x)
        size = space.norm(x)
        x = x * per_sample(1 / torch.where(size > 0, size, 1.0), x, space.rank)
    return x, size


def coded_diffraction(size: tuple[int, int], count: int, *, generator: torch.Generator | None = None) -> MultiCoilMRI:
    """Return x -> F (d_l x), l = 1..count: diffraction patterns of a field behind random masks d_l.

    Parameters
    ----------
    size : (int, int)
        Height and width.
    count : int
        Number of masks, at least one.
    generator : torch.Generator, optional
        Source of randomness.

    Returns
    -------
    MultiCoilMRI
        From (1, height, width) to (count, height, width), both complex: the masks stand where coils have their sensitivities.
        The entries of a mask are drawn from {1, -1, i, -i}, times sqrt(1/2) with probability 4/5 and sqrt(3) with 1/5.

    Raises
    ------
    ArgumentError
        If a size or the count is below one.

    Notes
    -----
    Source: E. Candès, X. Li, M. Soltanolkotabi, IEEE Transactions on Information Theory 61 (2015),
    doi:10.1109/TIT.2015.2399924.
    """
    size = as_size(size, "coded_diffraction", "size")
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"coded_diffraction: `count` must be a whole number >= 1; got {count!r}.")
    quarters = torch.randint(4, (count, *size), generator=generator)
    strong = torch.rand(count, *size, generator=generator, dtype=torch.float64) < 0.2
    phases = torch.tensor([1, 1j, -1, -1j], dtype=torch.complex128)[quarters]
    return MultiCoilMRI(torch.ones(size, dtype=torch.float64), torch.where(strong, 3**0.5, 0.5**0.5) * phases)


def _intensity(field: Tensor) -> Tensor:
    return field.real**2 + field.imag**2 if field.is_complex() else field**2


def _real_product(a: Tensor, b: Tensor) -> Tensor:
    """Return Re(conj(a) b), entry by entry."""
    if a.is_complex() and b.is_complex():
        return a.real * b.real + a.imag * b.imag
    return a * b
