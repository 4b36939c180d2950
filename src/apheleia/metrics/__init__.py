"""Metrics: how near an answer is to the truth, where there is one."""

from apheleia.metrics.psnr import psnr

__all__ = ["psnr"]
