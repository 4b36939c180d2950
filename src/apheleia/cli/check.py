"""check: whether a user's operator is what it says, from the command line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

import apheleia
from apheleia.cli.load import load_operator, where
from apheleia.cli.output import make_folder
from apheleia.core.bound import Bound
from apheleia.core.errors import ArgumentError, CheckError
from apheleia.core.space import Space
from apheleia.io import atomic_write_bytes
from apheleia.operators import (
    LinearOperator,
    Operator,
    check_adjoint,
    check_derivative,
    check_linear,
    check_norm,
    find_adjoint_fault,
)
from apheleia.report import CheckPage, CheckRow, render_check

__all__ = ["Check"]

DEFAULT_SIZES = (1, 16, 24)
"""Sizes where the operator leaves them open: small, not square, and halved three times by wavelets."""

TOLERANCES = {torch.float64: 1e-10, torch.float32: 1e-4}


@dataclass(frozen=True)
class Check:
    """Check an operator of your own: is it linear, is its adjoint exact, does its norm hold; RUNS THE CODE of the module."""

    operator: tyro.conf.Positional[str]
    """MODULE:OPERATOR. MODULE: a dotted module or the path of a .py file, which is executed. OPERATOR: the name in it of an
    operator, or of a class or function that makes one without arguments."""

    shape: str | None = None
    """Signal shape without batch axes, such as 1,64,48; by default what the operator fixes, 1,16,24 for images of any size."""

    dtype: Literal["float64", "float32"] = "float64"
    """Precision of the signals; a part that computes in single precision passes with float32 only."""

    out: Path | None = None
    """Folder for report.html, with a picture of where the adjoint is wrong, and report.json."""

    json: bool = False
    """Print JSON on standard output instead of a table."""

    def run(self) -> int:
        """Run the checks; the exit code is 0 where all pass and 1 where one fails.

        Raises
        ------
        ArgumentError
            If the operator cannot be had, or the shape does not suit it.
        """
        given = None if self.shape is None else _parse_shape(self.shape)
        A = load_operator(self.operator)
        shape = _shape(A, given)
        if self.out is not None:
            make_folder(self.out)
        began = time.perf_counter()
        precision = torch.float64 if self.dtype == "float64" else torch.float32
        bench = _Bench(A, shape, precision)
        rows = bench.rows()
        seconds = time.perf_counter() - began
        numbers = {
            "operator": self.operator,
            "name": A.name,
            "domain": str(A.domain),
            "codomain": str(A.codomain),
            "shape": list(shape),
            "dtype": self.dtype,
            "passed": all(row.passed for row in rows),
            "checks": [asdict(row) for row in rows],
            "seconds": seconds,
            "version": apheleia.__version__,
        }
        if self.out is not None:
            page = CheckPage(
                A.name, self.operator, _summary(A, shape, self.dtype), rows, bench.defect, time.strftime("%Y-%m-%d %H:%M")
            )
            text = json.dumps(numbers, ensure_ascii=False, indent=2)
            atomic_write_bytes(self.out / "report.html", render_check(page).encode())
            atomic_write_bytes(self.out / "report.json", text.encode())
        if self.json:
            print(json.dumps(numbers, ensure_ascii=False))
        else:
            _print(rows, f"{A.name}: {_summary(A, shape, self.dtype)}")
        return 0 if numbers["passed"] else 1


@dataclass
class _Bench:
    """One operator under examination."""

    A: Operator
    shape: tuple[int, ...]
    dtype: torch.dtype
    defect: Tensor | None = field(default=None)

    def rows(self) -> tuple[CheckRow, ...]:
        tol = TOLERANCES[self.dtype]
        rows = [self._row("shapes", "A x has the batch and the shape that A announces", None, self._shapes)]
        A = self.A
        if isinstance(A, LinearOperator):
            options, norm = {"dtype": self.dtype, "tol": tol}, self._norm(A)
            rows += [
                self._row("linear", "A(2x - 3y) = 2 A x - 3 A y", tol, lambda: check_linear(A, self.shape, **options)),
                self._row("adjoint", "<A x, y> = <x, A^H y>", tol, lambda: check_adjoint(A, self.shape, **options)),
                self._row(
                    "norm",
                    "no x with |A x| > |A| |x|" + ("" if norm is None else f"; |A| is {norm}"),
                    # an estimate, which a wrong adjoint misleads, claims nothing
                    1.0 if norm is not None and norm.is_upper else None,
                    lambda: check_norm(A, self.shape, dtype=self.dtype, tol=100 * tol),
                ),
            ]
            if not rows[2].passed:
                self.defect = self._defect(A)
        else:
            rows.append(
                self._row("derivative", "J v = (A(x + h v) - A(x - h v)) / 2h; <J v, w> = <v, J^H w>", 1e-6, self._derivative)
            )
        rows.append(self._row("batch", "A of a batch is A of each signal", tol, self._batch))
        return tuple(rows)

    def _row(self, name: str, question: str, tol: float | None, check: Callable[[], float | None]) -> CheckRow:
        try:
            return CheckRow(name, question, True, check(), tol, "")
        except CheckError as error:
            return CheckRow(name, question, False, None, tol, str(error))
        except Exception as error:  # the operator is a user's code: whatever it raises is the outcome of this check
            return CheckRow(name, question, False, None, tol, f"It raised {where(error)}.")

    def _draw(self, batch: int) -> Tensor:
        space = Space(self.shape, self.A.domain.is_complex)
        dtype = self.dtype.to_complex() if space.is_complex else self.dtype
        x = space.randn((batch,), generator=torch.Generator().manual_seed(2), dtype=dtype)
        return x.to(next((t.device for t in (*self.A.parameters(), *self.A.buffers())), None))

    def _shapes(self) -> None:
        expected = (2, *self.A.output_shape(self.shape))
        got = tuple(self.A(self._draw(2)).shape)
        if got != expected:
            raise CheckError(f"A x has shape {got} where {expected} is announced. Correct `_output_shape` or `codomain`.")
        if isinstance(self.A, LinearOperator):
            back = self.A.input_shape(expected[1:])
            if back != self.shape:
                raise CheckError(f"input_shape says {back} for data of signals {self.shape}. Correct `_input_shape` or `domain`.")

    def _norm(self, A: LinearOperator) -> Bound | None:
        """Return the norm with its pedigree, for the reader of the row."""
        try:
            return A.norm(self.shape)
        except Exception:  # the row of the norm tells what it raises
            return None

    def _derivative(self) -> float:
        return check_derivative(self.A, self.shape)

    def _batch(self) -> float:
        x = self._draw(3)
        with torch.no_grad():
            together, alone = self.A(x), torch.stack([self.A(x[i]) for i in range(3)])
        size = float(torch.linalg.vector_norm(alone))
        deviation = float(torch.linalg.vector_norm(together - alone)) / (size if size else 1.0)
        if not deviation <= TOLERANCES[self.dtype]:
            raise CheckError(
                f"A of three signals differs from A of each by {deviation:.3g} relative. A statistic over the batch, or a "
                "reshape that mixes axes, does this."
            )
        return deviation

    def _defect(self, A: LinearOperator) -> Tensor | None:
        """Return where the adjoint is wrong, if it can be said."""
        try:
            x = self._draw(4)
            image = A(x).detach()
            y = torch.randn(image.shape, generator=torch.Generator().manual_seed(3), dtype=image.dtype).to(image.device)
            return find_adjoint_fault(A, x, y).defect
        except Exception:  # what cannot be applied has no picture; its row says why
            return None


def _parse_shape(words: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(word) for word in words.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise ArgumentError(f"check: --shape must be whole numbers of at least 1 with commas, such as 1,64,48; got {words!r}.")
    return shape


def _shape(A: Operator, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the signal shape to examine."""
    if given is None:
        if A.domain.rank > len(DEFAULT_SIZES) and not A.domain.is_fixed:
            raise ArgumentError(f"check: {A.name} leaves sizes open; give --shape, ({A.domain}).")
        defaults = DEFAULT_SIZES[len(DEFAULT_SIZES) - A.domain.rank :] if A.domain.rank <= len(DEFAULT_SIZES) else A.domain.shape
        return tuple(own or size or 1 for own, size in zip(A.domain.shape, defaults, strict=True))
    if not A.domain.accepts(given):
        raise ArgumentError(f"check: {A.name} takes signals ({A.domain}); --shape is {','.join(map(str, given))}.")
    return given


def _summary(A: Operator, shape: tuple[int, ...], dtype: str) -> str:
    kind = "a linear operator" if isinstance(A, LinearOperator) else "an operator that is not linear"
    return f"{kind} from ({A.domain}) to ({A.codomain}), examined on signals {shape} in {dtype}"


def _print(rows: tuple[CheckRow, ...], title: str) -> None:
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    for column in ("check", "what must hold", "outcome", "measured", "limit"):
        table.add_column(column)
    for row in rows:
        mark = "[green]pass[/green]" if row.passed else "[red]FAIL[/red]"
        measured, limit = ("" if number is None else f"{number:.3g}" for number in (row.value, row.limit))
        table.add_row(row.name, escape(row.question), mark, measured, limit)
    console = Console()
    console.print(table)
    for row in rows:
        if row.sentence:
            console.print(f"[red]{row.name}[/red]: {escape(row.sentence)}", soft_wrap=True)
