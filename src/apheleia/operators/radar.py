"""Near-field radar with many transmitters and receivers: echoes of a scene of point reflectors, without a stored matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, ShapeError
from apheleia.core.interop import ArrayLike, as_tensor
from apheleia.core.space import Space
from apheleia.operators.foreign import linear_map
from apheleia.operators.linear import LinearOperator

__all__ = ["NearFieldMIMO"]

_SPEED_OF_LIGHT = 299_792_458.0
"""Metres a second."""

_BLOCK = 2**21
"""Complex numbers of a block of exponentials, 32 megabytes in double precision."""


@final
class NearFieldMIMO(LinearOperator):
    """x -> d[t, r, f] = sum_v x_v exp(-2 pi i f (R_t(v) + R_r(v)) / c), echoes by way of the voxels v of a scene.

    R_t(v) and R_r(v) are the distances of a voxel from transmitter t and receiver r; no far field is assumed.

    Parameters
    ----------
    transmitters : Tensor or ndarray, (transmitter, 3)
        Positions of the transmitting antennas in metres.
    receivers : Tensor or ndarray, (receiver, 3)
        Positions of the receiving antennas in metres.
    frequencies_hz : Tensor or ndarray, (frequency,)
        Frequencies of the steps of the sweep, above zero.
    voxels : Tensor or ndarray, (*grid, 3)
        Positions of the voxels in metres; the scene has the shape of the grid, for instance (depth, height, width).
    has_spreading : bool, default False
        Whether echoes lose strength on their way, by 1 / (R_t R_r) with distances in metres.

    Raises
    ------
    ShapeError
        If an array of positions does not end in 3, or frequencies are no vector.
    ArgumentError
        If a frequency is not above zero, a number is not finite, an argument wants a gradient, or a voxel lies on an antenna and
        echoes spread.

    Notes
    -----
    The domain is the grid, the codomain (transmitter, receiver, frequency), both complex.
    Certificate: |A|^2 <= sum_f min(p |E_r|^2, q |E_t|^2), upper, with E_t and E_r the two factors of the exponentials at one
    frequency (antenna, voxel), and p and q the largest energy of a voxel's column in E_t and in E_r. For A_f^H A_f is the
    product of E_t^H E_t and E_r^H E_r entry by entry, and with |E_r|^2 I - E_r^H E_r the product of E_t^H E_t with it is
    positive semi-definite too (Schur). |E_r| is the root of the largest eigenvalue of a matrix (receiver, receiver).
    Complexity: frequencies * voxels * transmitters * receivers; at most 2^21 exponentials are held at a time, and derivatives
    hold no more. The distances are computed in float64: a phase is a small part of many turns.
    Source: D. Sheen, D. McMakin, T. Hall, IEEE Transactions on Microwave Theory and Techniques 49 (2001), doi:10.1109/22.942570,
    for the imaging of near fields.

    Examples
    --------
    >>> scene = torch.tensor([[[[0.0, 0.0, 1.0]]]])
    >>> A = NearFieldMIMO(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([299_792_458.0 / 8]), scene)
    >>> A(torch.ones(1, 1, 1)).angle() / torch.pi
    tensor([[[-0.5000]]])
    """

    transmitters: Tensor
    receivers: Tensor
    frequencies_hz: Tensor
    voxels: Tensor

    def __init__(
        self,
        transmitters: ArrayLike,
        receivers: ArrayLike,
        frequencies_hz: ArrayLike,
        voxels: ArrayLike,
        has_spreading: bool = False,
    ) -> None:
        sent, received = (_positions(p, name, 2) for p, name in ((transmitters, "transmitters"), (receivers, "receivers")))
        scene = _positions(voxels, "voxels", None)
        frequencies = as_tensor(frequencies_hz, "NearFieldMIMO", "frequencies_hz")
        if frequencies.ndim != 1 or frequencies.is_complex() or 0 in frequencies.shape:
            raise ShapeError(f"NearFieldMIMO: `frequencies_hz` must be a real vector; got {tuple(frequencies.shape)}.")
        if not bool(((frequencies > 0) & frequencies.isfinite()).all()):
            wrong = frequencies[~((frequencies > 0) & frequencies.isfinite())][0].item()
            raise ArgumentError(f"NearFieldMIMO: `frequencies_hz` must be finite and above zero; got {wrong}.")
        if any(part.requires_grad for part in (sent, received, frequencies, scene)):
            raise ArgumentError("NearFieldMIMO: positions and frequencies get no gradient here; detach them.")
        flat = scene.reshape(-1, 3)
        # one antenna at a time: all distances at once may be more than the scene has room for
        if has_spreading and any(bool((flat == antenna).all(-1).any()) for antenna in torch.cat((sent, received))):
            raise ArgumentError("NearFieldMIMO: a voxel lies on an antenna, where spreading has no bound. Move the grid.")
        codomain = Space((len(sent), len(received), len(frequencies)), is_complex=True)
        super().__init__(Space(tuple(scene.shape[:-1]), is_complex=True), codomain)
        self.register_buffer("transmitters", sent)
        self.register_buffer("receivers", received)
        self.register_buffer("frequencies_hz", frequencies.double())
        self.register_buffer("voxels", flat)
        self.has_spreading = has_spreading

    def _forward(self, x: Tensor) -> Tensor:
        # as one linear map, so that derivatives keep no blocks either
        return linear_map(x, self._echoes, self._backprojected)

    def _adjoint(self, y: Tensor) -> Tensor:
        return linear_map(y, self._backprojected, self._echoes)

    def _echoes(self, x: Tensor) -> Tensor:
        batch = x.shape[: x.ndim - self.domain.rank]
        scene = x.reshape(*batch, -1)
        out = torch.zeros(*batch, *self._sizes(), dtype=x.dtype, device=x.device)
        for block, step, sent, received in self._factors(x.dtype):
            out[..., step] += (scene[..., None, block] * sent) @ received.mT
        return out

    def _backprojected(self, y: Tensor) -> Tensor:
        batch = y.shape[:-3]
        out = torch.zeros(*batch, len(self.voxels), dtype=y.dtype, device=y.device)
        for block, step, sent, received in self._factors(y.dtype):
            out[..., block] += ((sent.mH @ y[..., step]) * received.mH).sum(-1)
        return out.reshape(*batch, *(size or 0 for size in self.domain.shape))

    def _sizes(self) -> tuple[int, int, int]:
        return len(self.transmitters), len(self.receivers), len(self.frequencies_hz)

    def _factors(self, dtype: torch.dtype) -> Iterator[tuple[slice, int, Tensor, Tensor]]:
        """Yield blocks of voxels, steps of the sweep, and the two factors (antenna, voxel) of their exponentials."""
        count = max(1, _BLOCK // (len(self.transmitters) + len(self.receivers)))
        for start in range(0, len(self.voxels), count):
            block = slice(start, min(start + count, len(self.voxels)))
            distances = [_distances(antennas, self.voxels[block]) for antennas in (self.transmitters, self.receivers)]
            sizes = [1 / distance if self.has_spreading else torch.ones_like(distance) for distance in distances]
            for step, frequency in enumerate(self.frequencies_hz):
                turns = [(frequency / _SPEED_OF_LIGHT) * distance for distance in distances]
                # whole turns are left out before they cost digits
                sent, received = (
                    torch.polar(size, -2 * math.pi * (turn - turn.round())).to(dtype)
                    for size, turn in zip(sizes, turns, strict=True)
                )
                yield block, step, sent, received

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        zeros = [torch.zeros(n, n, dtype=torch.complex128, device=self.voxels.device) for n in self._sizes()[:2]]
        grams = [[zero.clone() for _ in self.frequencies_hz] for zero in zeros]
        largest = [0.0, 0.0]
        for _, step, *factors in self._factors(torch.complex128):
            for side, factor in enumerate(factors):
                grams[side][step] += factor @ factor.mH
                largest[side] = max(largest[side], float(factor.abs().square().sum(0).max()))
        peaks = [torch.linalg.eigvalsh(torch.stack(gram))[:, -1] for gram in grams]
        # a millionth of a millionth more covers the rounding of the eigenvalues
        square = torch.minimum(largest[0] * peaks[1], largest[1] * peaks[0]).sum() * (1 + 1e-12)
        return Bound(square.sqrt(), "upper", "norms of the factors at each frequency")

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(size or 0 for size in self.domain.shape)

    def _output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self._sizes()


def _positions(values: ArrayLike, name: str, rank: int | None) -> Tensor:
    p = as_tensor(values, "NearFieldMIMO", name)
    if p.ndim < 2 or p.shape[-1] != 3 or 0 in p.shape or p.is_complex() or (rank is not None and p.ndim != rank):
        shape = "(antenna, 3)" if rank == 2 else "(*grid, 3)"
        raise ShapeError(f"NearFieldMIMO: `{name}` must be real, {shape}, in metres; got {p.dtype} {tuple(p.shape)}.")
    if not bool(p.isfinite().all()):
        raise ArgumentError(f"NearFieldMIMO: `{name}` must be finite.")
    return p.double()


def _distances(antennas: Tensor, voxels: Tensor) -> Tensor:
    return torch.linalg.vector_norm(antennas[:, None] - voxels, dim=-1)
