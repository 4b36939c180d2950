"""Time an iteration and memory a pixel, from 128 x 128 to 4096 x 4096 pixels.

python benchmarks/scaling.py [--sizes 128 256 512] [--huge-pages] [--svg docs/images/scaling.svg]

Grey images in float32: skimage's camera, mirrored where it runs out or cut; noise 0.02, seed 0; one thread. Problems:
deblurring     1/2 |A x - y|^2 + 2e-3 TV(x), Gaussian of sigma 1.6, edges that reflect: ADMM, as `solve` chooses
inpainting     1/2 |M x - y|^2 + 2e-3 TV(x), half of the pixels known: Condat-Vu, asked for
wavelets       1/2 |A x - y|^2 + 2e-3 |W x|_1, the same blur, db4 with 3 levels: FISTA, as `solve` chooses
Each case and size runs in a process of its own, whose one solve of few and of many steps gives
seconds_per_iteration = (time of many - time of few) / difference, the median of the repeats, all checks of the loop included;
--huge-pages sets THP_MEM_ALLOC_ENABLE=1, with which torch asks the kernel for pages of 2 MB.
bytes_per_pixel = (peak resident memory at the end - resident memory with the data, after a tiny solve) / pixels.
Prints one JSON object a line, and a table in markdown on standard error; with --svg draws both.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZES = (128, 256, 512, 1024, 2048, 4096)
CASES = {"deblurring": "ADMM", "inpainting": "CondatVu", "wavelets": "FISTA"}
FEW = 4
WORK = 2**24
"""Pixels times steps that are timed at least, so that small images are timed over many steps; large ones are repeated less."""


def problem(case: str, size: int):
    """Return the problem and the algorithm to ask for, or None."""
    import numpy
    import torch

    import apheleia as ap

    camera = ap.data.sample("camera").astype(numpy.float32) / 255
    camera = numpy.pad(camera, (0, max(0, size - 512)), mode="symmetric")[:size, :size]
    truth = torch.from_numpy(camera.copy())[None]
    noise = 0.02 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    if case == "inpainting":
        mask = torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.5
        A = ap.operators.Diagonal(mask.float())
    else:
        A = ap.operators.Convolution(ap.imaging.gaussian_kernel(1.6), boundary="reflect")
    prior = ap.WaveletL1("db4", 3) if case == "wavelets" else ap.TotalVariation()
    f = ap.LeastSquares(A, A(truth) + noise)
    return ap.Problem(f, 2e-3 * prior), ap.CondatVu() if case == "inpainting" else None


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def one(case: str, size: int, repeats: int) -> None:
    """Measure one case at one size; its own process."""
    import torch

    import apheleia as ap

    torch.set_num_threads(1)
    stated, algorithm = problem(case, size)
    many = FEW + max(10, min(300, WORK // size**2))

    def run(steps: int) -> tuple[float, str]:
        began = time.perf_counter()
        _, report = ap.solve(stated, algorithm, max_steps=steps, early_stopping=False, throw=False)
        return time.perf_counter() - began, report.algorithm

    # what the first use of a library allocates is no matter of the image's size
    small, own = problem(case, 64)
    ap.solve(small, own, max_steps=FEW, early_stopping=False, throw=False)
    before = resident_bytes()
    name = run(FEW)[1]
    assert name == CASES[case], f"{case} ran {name}"
    # few and many in turn, so that a slow moment of the machine meets both
    seconds = statistics.median((run(many)[0] - run(FEW)[0]) / (many - FEW) for _ in range(max(1, min(repeats, WORK // size**2))))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    about = {"benchmark": "scaling", "case": f"{case}{size}", "method": name, "pixels": size**2}
    print(json.dumps(about | {"metric": "seconds_per_iteration", "value": seconds}))
    print(json.dumps(about | {"metric": "bytes_per_pixel", "value": max(0, peak - before) / size**2}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--huge-pages", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("CASE", "SIZE"), help="measure in this process")
    arguments = parser.parse_args()
    if arguments.one is not None:
        one(arguments.one[0], int(arguments.one[1]), arguments.repeats)
        return
    rows = []
    for size in arguments.sizes:
        for case in CASES:
            command = [sys.executable, __file__, "--one", case, str(size), "--repeats", str(arguments.repeats)]
            environment = os.environ | {"OMP_NUM_THREADS": "1"} | ({"THP_MEM_ALLOC_ENABLE": "1"} if arguments.huge_pages else {})
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
            print(printed, end="", flush=True)
            rows += [json.loads(line) for line in printed.splitlines()]
    print(table(rows), file=sys.stderr)
    if arguments.svg is not None:
        arguments.svg.write_text(drawing(rows))


def series(rows: list[dict], metric: str) -> dict[str, list[tuple[int, float]]]:
    """Return (pixels, value) of each case."""
    return {
        case: [(row["pixels"], row["value"]) for row in rows if row["metric"] == metric and row["case"].startswith(case)]
        for case in CASES
    }


def table(rows: list[dict]) -> str:
    seconds, memory = series(rows, "seconds_per_iteration"), series(rows, "bytes_per_pixel")
    lines = ["| pixels | " + " | ".join(f"{case}, {name}" for case, name in CASES.items()) + " |", "|---" * 4 + "|"]
    for k, (pixels, _) in enumerate(seconds["deblurring"]):
        cells = [f"{1e3 * seconds[case][k][1]:.3g} ms, {memory[case][k][1]:.0f} B" for case in CASES]
        lines.append(f"| {math.isqrt(pixels)}² | " + " | ".join(cells) + " |")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------- the picture

COLOURS = {"deblurring": "#1f6486", "inpainting": "#b5541c", "wavelets": "#5b7f2b"}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 380, 250, 62, 34, 44
"""One panel; two stand side by side."""


def drawing(rows: list[dict]) -> str:
    """Return both panels as an SVG text on white, with axes in powers."""
    milliseconds = {case: [(n, 1e3 * v) for n, v in points] for case, points in series(rows, "seconds_per_iteration").items()}
    # below a quarter of a megapixel the memory is that of the interpreter's own ups and downs
    memory = {case: [(n, v) for n, v in points if n >= 2**18] for case, points in series(rows, "bytes_per_pixel").items()}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" aria-label="Time an iteration and memory a pixel against the size of the image">'
        f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        panel(0, "milliseconds an iteration", milliseconds, 10),
        panel(WIDTH, "bytes a pixel at the peak", memory, 2),
    ]
    return "".join(parts) + "</svg>\n"


def panel(shift: int, title: str, points: dict[str, list[tuple[int, float]]], base: int) -> str:
    """Return one panel: logarithmic axes, ticks at whole powers of `base` upwards and at the sizes across."""
    flat = [(n, v) for values in points.values() for n, v in values if v > 0]
    if not flat:
        return f'<text x="{shift + LEFT}" y="18" fill="#20252b">{title}: nothing measured</text>'
    sizes = sorted({n for n, _ in flat})
    low = math.floor(math.log(min(v for _, v in flat), base))
    high = max(low + 1, math.ceil(math.log(max(v for _, v in flat), base)))

    def across(n: float) -> float:
        span = math.log(sizes[-1] / sizes[0]) or 1.0
        return shift + LEFT + (WIDTH - LEFT - 18) * math.log(n / sizes[0]) / span

    def down(v: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log(v, base) - low) / (high - low)

    parts = [f'<text x="{shift + LEFT}" y="18" fill="#20252b" font-weight="600">{title}</text>']
    for power in range(low, high + 1):
        y = down(float(base) ** power)
        parts.append(f'<path d="M{shift + LEFT} {y:.1f}H{shift + WIDTH - 18}" stroke="#dddddd"/>')
        parts.append(f'<text x="{shift + LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#5a636e">{base**power:g}</text>')
    for n in sizes:
        label = f'text-anchor="middle" fill="#5a636e">{math.isqrt(n)}²'
        parts.append(f'<text x="{across(n):.1f}" y="{HEIGHT - BOTTOM + 18}" {label}</text>')
    for k, (case, values) in enumerate(points.items()):
        places = " ".join(f"{across(n):.1f},{down(v):.1f}" for n, v in values if v > 0)
        parts.append(f'<polyline points="{places}" fill="none" stroke="{COLOURS[case]}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(n):.1f}" cy="{down(v):.1f}" r="3" fill="{COLOURS[case]}"/>' for n, v in values if v > 0]
        x = shift + 10 + k * (WIDTH - 10) / 3
        label = f'font-size="11" fill="{COLOURS[case]}">{case}, {CASES[case]}'
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - 8}" {label}</text>')
    return "".join(parts)


if __name__ == "__main__":
    main()
