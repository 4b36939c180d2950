"""Unknown spectra and their abundances from one scene: non-negative factorisation with a penalty on volume, by PALM.

python examples/unmix_a_scene.py [FOLDER]

The scene is Samson, 95 x 95 pixels in 156 bands, with the reference that most papers compare with; FOLDER, or $APHELEIA_DATA,
holds unmixing/samson.npz. Every pixel is scaled to length one, as that reference was. The start are the three purest pixels,
found by successive projections, and the abundances on the simplex that fit them. Then both factors move: spectra stay
non-negative and are pulled towards the mean spectrum, so that the simplex they span is no larger than the data ask for.
The weight of that pull is 100, chosen by trial on this scene.
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import apheleia as ap
from apheleia.functionals.fidelities.least_squares import SquaredDistance
from apheleia.operators import MatrixProduct, SpectralMixing


def purest(pixels: Tensor, count: int) -> Tensor:
    """Return the columns that are longest once those before are projected out, (bands, count)."""
    rest, chosen = pixels.clone(), []
    for _ in range(count):
        chosen.append(int((rest**2).sum(0).argmax()))
        axis = rest[:, chosen[-1]] / rest[:, chosen[-1]].norm()
        rest = rest - torch.outer(axis, axis @ rest)
    return pixels[:, chosen]


def angles(spectra: Tensor, reference: Tensor) -> Tensor:
    """Return the angles between all pairs of columns, in degrees."""
    unit = [torch.nn.functional.normalize(matrix, dim=0) for matrix in (spectra, reference)]
    return torch.rad2deg((unit[0].mT @ unit[1]).clamp(-1, 1).arccos())


def told(name: str, spectra: Tensor, abundances: Tensor) -> Tensor:
    """Print how far both are from the reference; return the abundances in its order."""
    pairs = angles(spectra, truth_spectra)
    order = pairs.argmin(0)
    far = ", ".join(f"{material} {angle:.1f}°" for material, angle in zip(materials, pairs.amin(0).tolist(), strict=True))
    print(f"{name}: spectra off by {far}; abundances {ap.metrics.psnr(abundances[order], truth, 1.0):.2f} dB")
    return abundances[order]


scene = np.load(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["APHELEIA_DATA"]) / "unmixing" / "samson.npz")
materials = [str(name) for name in scene["names"]]
truth_spectra, truth = torch.from_numpy(scene["endmembers"]), torch.from_numpy(scene["abundances"]).permute(2, 0, 1)
cube = torch.nn.functional.normalize(torch.from_numpy(scene["cube"]).permute(2, 0, 1), dim=0)

spectra = purest(cube.flatten(1), 3)
abundances, _ = ap.solve(ap.Problem(ap.LeastSquares(SpectralMixing(spectra), cube), ap.Simplex()))
start = told("purest pixels", spectra, abundances)

B = MatrixProduct(cube.shape[0], 3, *cube.shape[1:])
mean = cube.mean((1, 2))[:, None].expand_as(spectra).contiguous()
pull = (100.0 * SquaredDistance(mean, B.blocks[0].codomain)) @ B.blocks[0]
sign = ap.NonNegativity(B.blocks[0].codomain) @ B.blocks[0]
shares = ap.Simplex(1.0, -3, B.blocks[1].codomain) @ B.blocks[1]
problem = ap.Problem(ap.LeastSquares(B, cube), pull + sign + shares)
x0 = B.join(spectra, abundances)
plain = ap.solve(problem, ap.PALM(inertia=0.0), x0)[1]
print(f"PALM without momentum: {plain.status.name} after {int(plain.steps)} steps")
x, report = ap.solve(problem, x0=x0)
print(report)
answer = told("both unknown", *B.factors(x))

picture = torch.cat([torch.cat(list(maps), -1) for maps in (start, answer, truth)], -2)
ap.io.write("unmixed.png", ap.io.Measurement.from_array(np.rint(255 * picture.clamp(0, 1).numpy()).astype(np.uint8)))
print("unmixed.png: purest pixels, both unknown, reference; " + ", ".join(materials))
