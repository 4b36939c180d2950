"""Noise: how measurements scatter around their means, drawn from a generator."""
