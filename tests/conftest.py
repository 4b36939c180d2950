"""Settings of the whole suite: hypothesis draws the same examples on every run, torch takes one thread a worker."""

import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house", derandomize=True, deadline=None, max_examples=12, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("house")
torch.set_num_threads(1)
