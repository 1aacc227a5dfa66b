"""What hypothesis draws: valid architecture files, and mutations of them."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import strategies as st

NETWORKS = Path(__file__).parent.parent / "samples" / "networks"
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(NETWORKS.glob("*.yaml"))}

PIECES = (
    "conv", "maxpool", "dense", "flatten", "relu", "softmax", "residual", "concat", "add", "repeat", "from", "name",
    "kernel", "filters", "stride", "padding", "same", "valid", "bn", "true", "false", "null", "~", "in", "classes",
    "k", "c", "0", "-1", "1", "2", "3", "2.5", "1e3", ".nan", ".inf", "-.inf", "99999999999999", "9" * 60, "''", "[]",
    "{}", "[", "]", "{", "}", ": ", "- ", ", ", "\n", "\n  ", "\n      - ", "\t", "#", "&a ", "*a", "!!int ", "<<: ",
    "|", ">", "'", '"', "%YAML 1.1\n", "---\n", "...\n", "?", "\x00", "\ufeff", "é", "日本", "\U0001f600", "4*k",
    "in//0", "(" * 40, "__import__('os')", "upsample", "pad", "input: [1, 1, 1]", "groups", "dilation",
    "locally_connected", "65535", "1000000", "defaults", "blocks", "layers", "activation", "shortcut",
    "project", "identity",
)  # fmt: skip


def mutate(text: str, generator: random.Random, count: int) -> str:
    """Return `text` after `count` random edits: pieces put in, taken out, doubled, moved, and lines swapped."""
    for _ in range(count):
        at = generator.randrange(len(text) + 1)
        to = min(len(text), at + generator.choice((0, 1, 2, 5, 20, 80)))
        choice = generator.randrange(7)
        if choice == 0:
            text = text[:at] + generator.choice(PIECES) + text[at:]
        elif choice == 1:
            text = text[:at] + text[to:]
        elif choice == 2:
            text = text[:to] + text[at:to] + text[to:]
        elif choice == 3:
            text = text[:at] + generator.choice(PIECES) + text[to:]
        elif choice == 4:
            lines = text.splitlines(keepends=True)
            generator.shuffle(lines)
            text = "".join(lines) if generator.random() < 0.1 else text
        elif choice == 5:
            lines = text.splitlines(keepends=True)
            if lines:
                line = generator.randrange(len(lines))
                lines.insert(generator.randrange(len(lines)), lines[line])
                text = "".join(lines)
        else:
            words = text.split(" ")
            if len(words) > 1:
                words[generator.randrange(len(words))] = generator.choice(PIECES)
                text = " ".join(words)
    return text


mutations = st.builds(
    lambda name, seed, count: mutate(TEXTS[name], random.Random(seed), count),
    st.sampled_from(sorted(TEXTS)),
    st.integers(0, 2**32),
    st.integers(1, 8),
)
