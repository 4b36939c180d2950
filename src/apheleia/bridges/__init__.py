"""Bridges: operators, solvers and denoisers of other libraries in, and ours out; each library is needed only by its users."""
