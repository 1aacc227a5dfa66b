"""What the cache of compiled kernels has to say, for whoever talks to the user; importing this costs nothing."""

from __future__ import annotations

from collections.abc import Callable

#: called with the name of a kernel before it is compiled
on_compile: list[Callable[[str], None]] = []
#: called with a reason, once, when the folder of compiled kernels cannot be used
on_refuse: list[Callable[[str], None]] = []
