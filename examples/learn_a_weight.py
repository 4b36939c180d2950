"""Learn the weight of a prior from one pair of images, by differentiating through the solver.

python examples/learn_a_weight.py
"""

import torch

import apheleia as ap

truth = torch.from_numpy(ap.data.sample("camera")[100:164, 100:164] / 255)[None]
noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
y = truth + 0.1 * noise

log_weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
optimizer = torch.optim.Adam([log_weight], lr=0.2, betas=(0.5, 0.9))
for epoch in range(31):
    optimizer.zero_grad()
    problem = ap.Problem(ap.LeastSquares(ap.operators.Identity(), y, 0.1), log_weight.exp() * ap.TotalVariation())
    x, _ = ap.solve(problem, diff=ap.Unrolled(60))
    loss = (x - truth).square().mean()
    loss.backward()
    optimizer.step()
    if epoch % 5 == 0:
        print(f"epoch {epoch:2d}: weight {log_weight.exp().item():6.3f}, PSNR {ap.metrics.psnr(x.detach(), truth):.2f} dB")
