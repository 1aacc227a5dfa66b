"""The rows that tests cite are those of the table in README.md."""

import re
from pathlib import Path

HERE = Path(__file__).parent


def test_every_row_that_is_cited_is_in_the_table():
    table = set(map(int, re.findall(r"^\| (\d+) \|", (HERE / "README.md").read_text(), re.M)))
    sources = "\n".join(path.read_text() for path in HERE.glob("test_*.py"))
    cited = {int(a or b) for a, b in re.findall(r"row(\d+)|^    \"(\d+) ", sources, re.M)}
    assert len(cited) > 60
    assert cited <= table
