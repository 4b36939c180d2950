"""Magnetic resonance imaging on a Cartesian grid, with one receiver coil or several, x -> M F (S_c x)."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import final

import torch
from torch import Tensor, nn

from apheleia.core.bound import Bound
from apheleia.core.errors import ShapeError
from apheleia.core.interop import ArrayLike, as_tensor, is_floating
from apheleia.core.space import Space, batch_shape, per_sample
from apheleia.operators.diagonal import Diagonal
from apheleia.operators.linear import LinearOperator
from apheleia.operators.operator import register

__all__ = ["MultiCoilMRI"]

Map = Callable[[Tensor], Tensor]

_PLANE = (-2, -1)

_CHUNK = 2**17
"""Complex numbers that are transformed at a time, about a megabyte."""


@final
class MultiCoilMRI(LinearOperator):
    """x -> M F (S_c x), c = 1..coils: the undersampled k-space of a complex image as each receiver coil sees it.

    F is the centred orthonormal two-dimensional Fourier transform, fftshift . fft2 . ifftshift: the image's origin is the
    pixel (height // 2, width // 2), and so is the zero frequency of k-space and of the mask.

    Parameters
    ----------
    mask : Tensor or ndarray, (*batch, height, width)
        M, one where k-space was sampled and zero elsewhere; real weights are allowed, booleans count as 0 and 1.
    sensitivities : Tensor or ndarray, (*batch, coil, height, width), optional
        S_c, complex or real, the coils' sensitivity maps. Without them there is one coil of sensitivity 1.

    Raises
    ------
    ShapeError
        If the mask is complex or has no plane, or the maps have no axis of coils, another size or another batch.

    Notes
    -----
    The domain is (1, height, width) complex, the codomain (coil, height, width) complex.
    Certificate: norm max |M| max (sum_c |S_c|^2)^(1/2), exact with one coil of sensitivity 1 or a constant mask, otherwise
    upper; smallest singular value likewise with minima, exact or lower.
    Complexity: two-dimensional transforms, one a coil. The shifts are folded into the mask and the maps when the operator is
    prepared; in A^H A they cancel, and where the mask keeps whole lines of k-space so do the transforms along the lines.
    Source: K. Pruessmann, M. Weiger, P. Börnert, P. Boesiger, Magnetic Resonance in Medicine 46 (2001),
    doi:10.1002/mrm.1241.

    Examples
    --------
    >>> A = MultiCoilMRI(torch.ones(4, 4))
    >>> A(torch.ones(1, 4, 4))[0, 2, 2]
    tensor(4.+0.j)
    """

    mask: Tensor
    sensitivities: Tensor | None

    def __init__(self, mask: ArrayLike, sensitivities: ArrayLike | None = None) -> None:
        m = as_tensor(mask, "MultiCoilMRI", "mask")
        if m.ndim < 2 or 0 in m.shape or m.is_complex():
            raise ShapeError(f"MultiCoilMRI: `mask` must be real, (*batch, height, width); got {m.dtype} {tuple(m.shape)}.")
        plane = tuple(m.shape[-2:])
        coils = 1
        maps: Tensor | None = None
        if sensitivities is not None:
            maps = as_tensor(sensitivities, "MultiCoilMRI", "sensitivities")
            if maps.ndim < 3 or 0 in maps.shape or tuple(maps.shape[-2:]) != plane:
                raise ShapeError(
                    f"MultiCoilMRI: `sensitivities` must be (*batch, coil, {plane[0]}, {plane[1]}), of the mask's size; "
                    f"got {tuple(maps.shape)}."
                )
            maps = maps if is_floating(maps) else maps.double()
            batch_shape(tuple(m.shape[:-2]), tuple(maps.shape[:-3]), who="MultiCoilMRI")
            coils = maps.shape[-3]
        super().__init__(Space((1, *plane), is_complex=True), Space((coils, *plane), is_complex=True))
        # an expanded mask is a view that could not be loaded into
        m = (m if is_floating(m) else m.double()).contiguous()
        register(self, "mask", m)
        if maps is None:
            self.sensitivities = None
        else:
            register(self, "sensitivities", maps.contiguous())
        self._note_structure()
        # a mask that is loaded may have another structure
        self.register_load_state_dict_post_hook(_noted_again)

    def _note_structure(self) -> None:
        """Set what follows from the values of the mask."""
        m, has_one_coil = self.mask, self.sensitivities is None
        # what is being learned may leave these special cases, if only by its gradient
        self.has_constant_mask = not m.requires_grad and bool((m == m[..., :1, :1]).all())
        self.transformed = _PLANE if m.requires_grad else _axes_that_matter(m)
        self.has_gram_solve = has_one_coil or self.has_constant_mask
        self.is_orthonormal = has_one_coil and self.has_constant_mask and bool((m.abs() == 1).all())

    def _forward(self, x: Tensor) -> Tensor:
        return self._prepared(x.dtype)._forward(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._prepared(y.dtype)._adjoint(y)

    def prepared(self, shape: tuple[int, ...], dtype: torch.dtype) -> LinearOperator:
        """Return the same operator with the shifts folded into its mask and its maps."""
        return self._prepared(dtype.to_complex())

    def _prepared(self, dtype: torch.dtype) -> _PreparedMRI:
        return _PreparedMRI(self, dtype)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        mask, maps = self.mask.abs().double().amax(_PLANE), self.sensitivities
        value = mask if maps is None else mask * _power(maps).double().amax(_PLANE).sqrt()
        return Bound(value, "exact" if self.has_gram_solve else "upper", "largest weight of the mask times that of the coils")

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound:
        mask, maps = self.mask.abs().double().amin(_PLANE), self.sensitivities
        value = mask if maps is None else mask * _power(maps).double().amin(_PLANE).sqrt()
        return Bound(value, "exact" if self.has_gram_solve else "lower", "least weight of the mask times that of the coils")

    def _gram(self) -> LinearOperator:
        return self.gram_of(self.mask, self.sensitivities)

    def gram_of(self, mask: Tensor, maps: Tensor | None) -> LinearOperator:
        """Return A^H A made from the mask and the maps in another precision."""
        if self.has_constant_mask:
            constant = mask[..., None, :1, :1] ** 2
            return Diagonal(constant if maps is None else constant * _power(maps)[..., None, :, :], self.domain)
        return SensitivityGram(torch.fft.ifftshift(mask, dim=_PLANE) ** 2, maps, self.transformed, self.domain)

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, *shape[1:])


@final
class _PreparedMRI(LinearOperator):
    """The operator with its shifts folded into its factors, W F (T_c x) with the plain transform F.

    On an axis of n numbers with the origin at c = n // 2, moving the origin of one side turns the phases of the other: the
    centred transform of x[m] is exp(2 pi i c (k - c) / n) times the plain one of x[m] exp(2 pi i c m / n).
    """

    weights: Tensor
    maps: Tensor
    mean_weights: Tensor

    def __init__(self, original: MultiCoilMRI, dtype: torch.dtype) -> None:
        super().__init__(original.domain, original.codomain)
        self.original = original
        self.has_gram_solve = original.has_gram_solve
        self.is_orthonormal = original.is_orthonormal
        mask, maps = original.mask, original.sensitivities
        before, after = _phases(tuple(mask.shape[-2:]), mask.device)
        register(self, "weights", (mask * after).to(dtype)[..., None, :, :])
        register(self, "maps", (before if maps is None else maps * before).to(dtype))
        converted = None if maps is None else maps.to(dtype if maps.is_complex() else dtype.to_real())
        self.ready_gram = original.gram_of(mask.to(dtype.to_real()), converted)
        if isinstance(self.ready_gram, SensitivityGram):
            self.register_buffer("mean_weights", self.ready_gram.mean_weights())

    def _forward(self, x: Tensor) -> Tensor:
        return self.weights.to(x.dtype) * torch.fft.fft2(self.maps.to(x.dtype) * x, norm="ortho")

    def _adjoint(self, y: Tensor) -> Tensor:
        images = torch.fft.ifft2(self.weights.conj().to(y.dtype) * y, norm="ortho")
        return (self.maps.conj().to(y.dtype) * images).sum(-3, keepdim=True)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        return self.original._norm(shape)

    def _smallest_singular_value(self, shape: tuple[int, ...]) -> Bound:
        return self.original._smallest_singular_value(shape)

    def _gram(self) -> LinearOperator:
        return self.ready_gram

    def _gram_preconditioner(self, shape: tuple[int, ...], shift: Tensor) -> Map | None:
        gram = self.ready_gram
        return gram.near_inverse(self.mean_weights, shift) if isinstance(gram, SensitivityGram) else None

    def _input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (1, *shape[1:])


@final
class SensitivityGram(LinearOperator):
    """x -> sum_c conj(S_c) F^H w F (S_c x), the Gram operator of the coils, wherever the origins of image and k-space are.

    Parameters
    ----------
    weights : Tensor, (*batch, height, width)
        w >= 0, with the zero frequency first.
    maps : Tensor, (*batch, coil, height, width), or None
        S_c; one coil of sensitivity 1 where it is None.
    axes : tuple of int
        The axes along which w varies: the transforms along the other ones cancel.
    space : Space
        Complex images (1, height, width).
    """

    weights: Tensor
    maps: Tensor | None
    conjugates: Tensor | None

    def __init__(self, weights: Tensor, maps: Tensor | None, axes: tuple[int, ...], space: Space) -> None:
        super().__init__(space, space)
        # contiguous lines transform four times faster than strided ones: turn the one image, and keep the maps turned
        self.is_turned = axes == (-2,)
        self.has_shifted_solve = maps is None
        self.axes = (-1,) if self.is_turned else axes
        planes = weights.mT if self.is_turned else weights
        register(self, "weights", (planes if len(axes) == 2 else planes[..., :1, :])[..., None, :, :])
        if maps is None:
            self.maps = self.conjugates = None
        else:
            turned = maps.mT.contiguous() if self.is_turned else maps
            register(self, "maps", turned)
            # conjugating in every application would cost as much as a transform
            self.register_buffer("conjugates", turned.conj().resolve_conj())

    def _forward(self, x: Tensor) -> Tensor:
        image = x.mT if self.is_turned else x
        if self.maps is None or self.conjugates is None:
            out = self._filtered(image, self.weights)
        else:
            # few coils at a time: what stays in the cache is twice as fast as what has to be allocated
            count = max(1, _CHUNK // image.numel()) if x.device.type == "cpu" else self.maps.shape[-3]
            parts = zip(self.maps.split(count, -3), self.conjugates.split(count, -3), strict=True)
            out = reduce(torch.add, (self._seen(image, maps, conjugates) for maps, conjugates in parts))
        return out.mT.contiguous() if self.is_turned else out

    def _seen(self, image: Tensor, maps: Tensor, conjugates: Tensor) -> Tensor:
        """Return sum_c conj(S_c) F^H w F (S_c x) over some of the coils."""
        parts = _like(conjugates, image) * self._filtered(_like(maps, image) * image, self.weights)
        return parts.sum(-3, keepdim=True) if parts.shape[-3] > 1 else parts

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._forward(y)

    def _filtered(self, x: Tensor, weights: Tensor) -> Tensor:
        return torch.fft.ifftn(weights.to(x.real.dtype) * torch.fft.fftn(x, dim=self.axes), dim=self.axes)

    def _shifted_solve(self, rhs: Tensor, shift: Tensor | float) -> Tensor:
        if self.maps is not None:
            return super()._shifted_solve(rhs, shift)
        return self._divided(rhs, self.weights, shift)

    def _divided(self, rhs: Tensor, weights: Tensor, shift: Tensor | float) -> Tensor:
        image = rhs.mT if self.is_turned else rhs
        out = self._filtered(image, 1 / (weights.to(rhs.real.dtype) + per_sample(shift, rhs, 3)))
        return out.mT.contiguous() if self.is_turned else out

    def mean_weights(self) -> Tensor:
        """Return the diagonal of F A^H A F^H, with one Fourier transform along the axes of `axes` only.

        It belongs to the circulant operator that is nearest to A^H A in the Frobenius norm: the coils blur the weights by the
        power spectra of their maps.

        Notes
        -----
        Source: T. Chan, SIAM Journal on Scientific and Statistical Computing 9 (1988), doi:10.1137/0909051.
        """
        with torch.no_grad():
            if self.maps is None:
                return self.weights
            spectra = torch.fft.fftn(self.maps, dim=self.axes, norm="forward").abs().square().sum(-3, keepdim=True)
            correlation = torch.fft.fftn(self.weights, dim=self.axes) * torch.fft.fftn(spectra, dim=self.axes).conj()
            return torch.fft.ifftn(correlation, dim=self.axes).real.clamp(min=0)

    def near_inverse(self, mean_weights: Tensor, shift: Tensor) -> Map:
        """Return r -> (C + shift I)^{-1} r with the circulant C of those weights: positive definite, near the true inverse."""
        return lambda r: self._divided(r, mean_weights, shift)

    def _norm(self, shape: tuple[int, ...] | None) -> Bound:
        largest = self.weights.double().amax((-3, -2, -1))
        if self.maps is None:
            return Bound(largest, "exact", "largest weight")
        return Bound(largest * _power(self.maps).double().amax(_PLANE), "upper", "largest weight times that of the coils")


def _noted_again(module: nn.Module, keys: object) -> None:
    if isinstance(module, MultiCoilMRI):
        module._note_structure()


def _like(factor: Tensor, x: Tensor) -> Tensor:
    """Return a real or complex factor in the precision of x."""
    return factor.to(x.dtype if factor.is_complex() else x.real.dtype)


def _power(maps: Tensor) -> Tensor:
    """Return sum_c |S_c|^2, (*batch, height, width)."""
    return (maps.real**2 + maps.imag**2 if maps.is_complex() else maps**2).sum(-3)


def _phases(plane: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the phases before and after a plain transform that make it a centred one, (height, width) each, complex128."""
    before, after = [], []
    for n in plane:
        centre, index = n // 2, torch.arange(n, device=device)
        # whole turns are left out before they cost digits
        steps = torch.stack((centre * index, centre * (index - centre))).remainder(n)
        angles = steps.double() * (2 * torch.pi / n)
        # of an even size every phase is 1 or -1, without the rounding of a sine
        line = torch.where(2 * steps == n, -1.0, torch.polar(torch.ones_like(angles), angles))
        before.append(line[0])
        after.append(line[1])
    return before[0][:, None] * before[1], after[0][:, None] * after[1]


def _axes_that_matter(mask: Tensor) -> tuple[int, ...]:
    """Return the axes along which some mask of the batch varies."""
    return tuple(axis for axis in _PLANE if not bool((mask == mask.narrow(axis, 0, 1)).all()))
