"""Wrong use gets a sentence: who complains, what was expected, what came, what to do. A statement and its sentence a row."""

import numpy as np
import pytest
import scipy.sparse
import torch

import apheleia as ap
from apheleia.cli import main
from apheleia.noise import Gaussian
from apheleia.operators import Convolution, Diagonal, FiniteDifferences, Identity, Matrix, WaveletTransform, XRayTransform, stack

KERNEL = torch.ones(3, 3) / 9
A = Convolution(KERNEL)
y = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0))
batch = y.expand(3, 1, 8, 8)
f = ap.LeastSquares(A, y)
tv = ap.TotalVariation()
problem = ap.Problem(f, 0.1 * tv)
rows = Matrix(torch.ones(3, 4))
D = FiniteDifferences()

TABLE = {
    "sizes that do not fit": [
        (lambda: rows @ rows, "Matrix @ Matrix: the left one takes (4), the right one gives (3)."),
        (lambda: A + rows, "Convolution + Matrix: the domains differ, (channel, height, width) and (4)."),
        (lambda: stack([A, rows]), "stack: the domains differ, (channel, height, width) and (4)."),
        (lambda: ap.L1() @ rows, "L1 @ Matrix: the functional takes (channel, height, width), the operator gives (3)."),
        (
            lambda: ap.Problem(f, ap.L1(ap.VECTOR)),
            "Problem: the spaces (1, 8, 8) and (n) do not fit. Give the prior its space, for instance L1(space=VECTOR).",
        ),
        (lambda: ap.Problem(f, ap.L1(ap.Space((1, 4, 4)))), "Problem: the spaces (1, 8, 8) and (1, 4, 4) do not fit."),
        (
            lambda: ap.Problem(ap.LeastSquares(A, batch), torch.tensor([0.1, 0.2]) * tv),
            "Problem: batch shapes (3,), (2,) do not broadcast. Give every part one batch shape or none.",
        ),
        (lambda: Diagonal(torch.ones(1, 4, 4))(y), "Diagonal: `x` must have shape (*batch, channel, 4, 4); got (1, 8, 8)."),
        (
            lambda: ap.LeastSquares(Diagonal(torch.ones(1, 4, 4)), y),
            "LeastSquares: `y` must have shape (*batch, channel, 4, 4); got (1, 8, 8).",
        ),
        (
            lambda: A(y[0]),
            "Convolution: `x` must have at least 3 axes, shape (*batch, channel, height, width); got (8, 8). "
            "Add a channel axis: x[None] makes (1, height, width).",
        ),
        (lambda: ap.solve(problem, x0=y[:, :4]), "solve: `x0` must have shape (*batch, 1, 8, 8); got (1, 4, 8)."),
        (
            lambda: WaveletTransform("haar", 5)(y),
            "WaveletTransform: height and width must be multiples of 2^levels = 32; got 8 x 8. This size allows 3 levels; "
            'or extend the image: extension="reflect" and a space of its size.',
        ),
        (
            lambda: ap.operators.UnknownBoundaryConvolution(torch.ones(31, 31))(y),
            "UnknownBoundaryConvolution: the scene must hold the kernel, at least (31, 31) pixels; got (8, 8).",
        ),
        (
            lambda: ap.check_prox(ap.L1(), (8, 8)),
            "check_prox: L1 takes signals (channel, height, width); got (8, 8).",
        ),
        (
            lambda: ap.check_adjoint(A, (8, 8)),
            "The checks of Convolution need a signal shape, (channel, height, width); got (8, 8).",
        ),
        (lambda: A.norm(8), "Convolution: `shape` must be a tuple of whole numbers such as (1, 64, 48); got 8."),
        (
            lambda: ap.bridges.from_scipy(scipy.sparse.eye_array(5), ap.Space((1, 2, 2))),
            "from_scipy: `domain` must be a Space of 5 numbers, such as Space((5,)); (1, 2, 2) holds 4.",
        ),
        (lambda: XRayTransform([0, 90], 8), "XRayTransform: `size` must be (height, width), whole numbers of at least 1; got 8."),
    ],
    "numbers of the wrong kind": [
        (
            lambda: A(y.to(torch.complex64)),
            "Convolution: `x` must be real; got torch.complex64. Take its real part or a complex operator.",
        ),
        (
            lambda: A((255 * y).byte()),
            "Convolution: `x` must hold floating-point numbers; got torch.uint8. Convert it, for instance x / 255 for bytes.",
        ),
        (
            lambda: A(y.half()),
            "Convolution: `x` must hold single or double precision numbers; got torch.float16. Convert it: x.to(torch.float32).",
        ),
        (
            lambda: ap.LeastSquares(A, y.bfloat16()),
            "LeastSquares: `y` must hold single or double precision numbers; got torch.bfloat16. "
            "Convert it: y.to(torch.float32).",
        ),
        (
            lambda: A(np.full((1, 2, 2), None)),
            "Convolution.forward: `x` must be a tensor or an array of numbers; got an array of object.",
        ),
        (
            lambda: ap.LeastSquares(A, y / 0 * 0),
            "LeastSquares: `y` must be finite; got 64 NaN or infinite values. Mask them with operators.Diagonal.",
        ),
        (
            lambda: Convolution(KERNEL / 0),
            "Convolution: `kernel` must be finite; got 9 NaN or infinite values. "
            "Measure it anew, or set what is unknown to zero.",
        ),
    ],
    "numbers out of range": [
        (lambda: -0.1 * tv, "TotalVariation: a weight must be a finite number >= 0; got -0.1."),
        (
            lambda: ap.LeastSquares(A, y, noise_std=-1.0),
            "LeastSquares: `noise_std` must be above zero; got -1.0. Leave it out for weight 1.",
        ),
        (lambda: Gaussian(-0.1), "Gaussian: `noise_std` must be at least 0; got -0.1."),
        (lambda: ap.FISTA(step="long"), "FISTA: `step` must be above zero; got 'long'. Leave it out and it is chosen."),
        (lambda: ap.ADMM("small"), "ADMM: `penalty` must be above zero; got 'small'. Leave it out and it is chosen."),
        (lambda: ap.solve(problem, tol=None), "solve: `tol` must be above zero; got None."),
        (lambda: ap.Box("a", "b"), "Box: `lower` must be below `upper`; got 'a' and 'b'."),
        (lambda: ap.L1().prox(y, "a"), "L1.prox: `step` must be above zero; got 'a'."),
        (
            lambda: Convolution(KERNEL, "wrap"),
            "Convolution: `boundary` must be one of circular, zero, reflect, replicate; got 'wrap'.",
        ),
    ],
    "one thing in place of another": [
        (
            lambda: ap.LeastSquares(y, A),
            "LeastSquares: `A` must be an operator, LeastSquares(A, y); got Tensor. A matrix is operators.Matrix(M).",
        ),
        (
            lambda: ap.Problem(A, y),
            "Problem: `f` must be a functional; got Convolution. An operator and its data make one: LeastSquares(A, y).",
        ),
        (
            lambda: ap.Problem(f, 0.1),
            "Problem: `g` must be a functional; got float. A weight stands before its prior: 0.1 * TotalVariation().",
        ),
        (lambda: ap.Problem(f, [tv, ap.L1()]), "Problem: `g` must be a functional; got list. Several are added: F + G."),
        (
            lambda: ap.Problem(f, terms=(ap.L1(), A)),
            "Problem: `terms` must be pairs (functional, linear operator) in a list; got ['L1', 'Convolution'].",
        ),
        (
            lambda: ap.TotalVariation(0.1),
            "Space: `is_complex` must be True or False; got 0.1. A weight stands before its prior: 0.1 * TotalVariation().",
        ),
        (
            lambda: ap.L1(0.1),
            "L1: `space` must be a Space such as IMAGE or Space((1, 64, 48)); got 0.1. "
            "A weight stands before its prior: 0.1 * L1().",
        ),
        (lambda: ap.Space(8), "Space: sizes must be whole numbers of at least 1, or None for any; got 8."),
        (lambda: A @ y, "Convolution @ array: `@` joins two operators. Call one to apply it: A(x), A.adjoint(y)."),
        (
            lambda: A + 1,
            "Convolution + ...: `+` joins two linear operators; got int. A number is c * Identity().",
        ),
        (lambda: f + A, "LeastSquares + ...: `+` joins two functionals; got Convolution."),
        (lambda: ap.solve(f), "solve: `problem` must be a Problem; got LeastSquares. Write Problem(f, g)."),
        (
            lambda: ap.solve(problem, ap.FISTA),
            "solve: `algorithm` must be an algorithm such as FISTA(); got the class FISTA; write FISTA(). "
            "Leave it out and it is chosen.",
        ),
        (
            lambda: ap.solve(problem, callbacks=print),
            "solve: `callbacks` must be functions in a list; got builtin_function_or_method. Write [function].",
        ),
        (
            lambda: ap.imaging.restore(np.ones((8, 8)), KERNEL),
            "restore: `model` must be an ImagingModel, such as ImagingModel(kernel=...); got Tensor.",
        ),
        (lambda: ap.bridges.to_scipy(np.eye(3)), "to_scipy: `A` must be a linear operator of Apheleia; got ndarray."),
        (lambda: ap.io.read(None), "open_user_file: `path` must name a file, a text or a pathlib.Path; got NoneType."),
    ],
    "what an object does not offer": [
        (
            lambda: ap.L1().grad(y),
            "L1 is not smooth and has no gradient. Use its proximal map, or a smoothed version.",
        ),
        (
            lambda: ap.SmoothedVariation().prox(y, 1.0),
            "SmoothedVariation is not proximable. Use its gradient.",
        ),
        (
            lambda: ap.solve(ap.Problem(f, terms=((ap.L1(), D),)), ap.ProximalGradient()),
            "Problem: the term (L1, FiniteDifferences) does not fit: L1 takes (channel, height, width), "
            "FiniteDifferences gives (2, n, n, n).",
        ),
        (
            lambda: ap.solve(ap.Problem(f, ap.GroupL1(-4, D.codomain) @ D), ap.ProximalGradient()),
            "ProximalGradient needs `g` to be proximable; GroupL1 @ FiniteDifferences is not. "
            "Try ADMM or ChambollePock or CondatVu.",
        ),
        (
            lambda: ap.solve(ap.Problem(f, terms=((ap.L1(), A),)), ap.ProximalGradient()),
            "ProximalGradient takes no terms h(K x); this problem has L1. Try ADMM or ChambollePock or CondatVu.",
        ),
        (
            lambda: ap.solve(problem, ap.Gradient()),
            "Gradient needs a smooth objective; TotalVariation is not. Try ADMM or FISTA or ProximalGradient.",
        ),
    ],
}


@pytest.mark.parametrize(("statement", "sentence"), [row for group in TABLE.values() for row in group])
def test_the_sentence(statement, sentence):
    with pytest.raises(ap.ApheleiaError) as caught:
        statement()
    assert str(caught.value) == sentence


COMMANDS = [
    ("restore missing.png --out out", "missing.png does not exist; check the path."),
    ("restore photo.png --noise -0.1 --out out", "--noise must be auto or a number above zero; got '-0.1'."),
    ("restore photo.png --mask small.png --out out", "the mask must be one grey image of the input's size, 8 x 8"),
    ("restore photo.png --prior best --out out", "'smoothed-tv', 'wavelet', 'quadratic'"),
    ("restore photo.png --blurr box:3 --out out", "--blurr"),
    ("restore photo.png --out photo.png", "--out must name a folder; a file has this name. Choose another."),
    ("check nothing.py:A --out out", "there is no file nothing.py."),
    ("refine photo.png", "refine"),
]


@pytest.mark.parametrize(("command", "words"), COMMANDS)
def test_the_command_line_says_it_ends_with_2_and_writes_nothing(command, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, side in (("photo.png", 8), ("small.png", 4)):
        ap.io.write(name, np.zeros((side, side), dtype=np.uint8))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(command.split()) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_right_stays_right():
    """The same statements without their faults."""
    assert ap.solve(problem)[1].status.name == "CONVERGED"
    assert ap.check_prox(ap.L1(), (1, 8, 8)) < 1e-6
    assert (A + 1.0 * Identity())(y).shape == y.shape
    assert Convolution(torch.ones(31, 31))(y).shape == y.shape
