"""What the store of compiled code has to say, for whoever talks to the user; importing this costs nothing."""

from __future__ import annotations

from collections.abc import Callable

#: called with the name of a routine before it is compiled
on_compile: list[Callable[[str], None]] = []
#: called with a reason, once, when the folder of compiled code cannot be used
on_refuse: list[Callable[[str], None]] = []
#: called with a sentence when another process has been compiling for more than a second
on_wait: list[Callable[[str], None]] = []
