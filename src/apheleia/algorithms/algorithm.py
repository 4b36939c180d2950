"""Algorithm: init and step over an explicit state; the loop, the stopping and the differentiation live elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from apheleia.core.certificate import Certificate
from apheleia.core.errors import CapabilityError
from apheleia.problem import Problem

__all__ = ["Algorithm", "State", "merge"]

AnyState = TypeVar("AnyState", bound="State")


@dataclass(frozen=True, eq=False)
class State:
    """What an algorithm carries from step to step; every tensor begins with the batch axes.

    Attributes
    ----------
    k : int
        Steps done.
    x : Tensor, (*batch, *space)
        The point that is returned.
    duals : tuple of Tensor
        The dual point returned with it, one a term, (*batch, *codomain); empty where the algorithm keeps none.
    """

    k: int
    x: Tensor
    duals: tuple[Tensor, ...]


class Algorithm(nn.Module, ABC):
    """A solver's mathematics: what it needs, how it begins, one step, its residual and what is proved beforehand."""

    requires: str
    """What a problem must offer, in words, for messages and tables."""

    look_every: int = 10
    """Steps between two looks at the tolerance: divergence is caught within so many of showing. Without duals, step 1 may solve
    it all, and is looked at too."""

    @property
    def name(self) -> str:
        """The name that reports use."""
        return type(self).__name__

    @abstractmethod
    def obstacle(self, problem: Problem) -> str | None:
        """Return why this algorithm cannot solve the problem, in words that follow its name, or None where it can."""

    @abstractmethod
    def init(self, problem: Problem, x0: Tensor) -> State:
        """Return the state at `x0`, (*batch, *space), with step sizes chosen."""

    @abstractmethod
    def step(self, problem: Problem, state: Any) -> State:
        """Return the next state; pure and differentiable."""

    @abstractmethod
    def residual(self, problem: Problem, state: Any) -> Tensor:
        """Return the normalised optimality residual at exactly the point (x, duals) of the state, (*batch,)."""

    @abstractmethod
    def certify(self, problem: Problem, state: Any) -> tuple[Certificate, ...]:
        """Return what is proved of the run before it begins, from bounds."""

    def check(self, problem: Problem, alternatives: tuple[str, ...] = ()) -> None:
        """Refuse a problem that this algorithm cannot solve.

        Raises
        ------
        CapabilityError
            With the reason, and with what would work.
        """
        reason = self.obstacle(problem)
        if reason is not None:
            advice = f" Try {' or '.join(alternatives)}." if alternatives else ""
            raise CapabilityError(f"{self.name} {reason}.{advice}")


def merge(active: Tensor, new: AnyState, old: AnyState) -> AnyState:
    """Return the new state for active images and the old one for those that have finished, (*batch,) of booleans."""
    if bool(active.all()):
        return new

    def chosen(fresh: Any, kept: Any) -> Any:
        if isinstance(fresh, Tensor):
            return torch.where(active[(...,) + (None,) * (fresh.ndim - active.ndim)], fresh, kept)
        if isinstance(fresh, tuple):
            return tuple(chosen(a, b) for a, b in zip(fresh, kept, strict=True))
        return fresh

    return replace(new, **{field.name: chosen(getattr(new, field.name), getattr(old, field.name)) for field in fields(new)})
