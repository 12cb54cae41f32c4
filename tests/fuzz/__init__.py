"""Hostile files: whatever a file holds, it ends as the right object or as one line that names it.

`kinds` has good files of every kind, with a second reader that says what a file holds; `mutations`
damages them, `models` and `data` write files by hand; `bar` counts how they end.
"""
