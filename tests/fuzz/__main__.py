"""``python -m fuzz``: the bar, printed as a table."""

from __future__ import annotations

import sys

from fuzz.bar import REFUSED, RIGHT, run, table

counts = [int(word) for word in sys.argv[1:]] or [20_000, 5_000]
found = run(*counts)
print(table(found))
sys.exit(any({*ends} - {RIGHT, REFUSED} for ends in found.values()))
