"""Docstring text that several functions or classes share, written once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Documented = TypeVar("Documented", bound=Callable[..., Any])


def shared(**texts: str) -> Callable[[Documented], Documented]:
    """Return a decorator that replaces every ``{name}`` in a docstring by a text.

    Examples
    --------
    >>> @shared(returns="Returns nothing.")
    ... def f():
    ...     '''Do nothing.
    ...
    ...     {returns}
    ...     '''
    >>> print(f.__doc__)
    Do nothing.
    <BLANKLINE>
    Returns nothing.
    """

    def decorate(documented: Documented) -> Documented:
        doc = inspect.cleandoc(documented.__doc__ or "")  # empty under python -OO
        for name, text in texts.items():
            doc = doc.replace(f"{{{name}}}", inspect.cleandoc(text))
        documented.__doc__ = doc
        return documented

    return decorate
