"""Settings of every test."""

from hypothesis import settings

# a first call may compile a kernel, and the machine may be busy: time is measured by benchmarks, not here
settings.register_profile("house", deadline=None)
settings.load_profile("house")
