"""Compile a function with numba, cached on disk; one clear line when numba is absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from carps_like.errors import MissingLibrary

try:
    import numba
    from numba.core import types
    from numba.extending import intrinsic
except ImportError as error:
    raise MissingLibrary("numba", "subset", "subset selection") from error

F = TypeVar("F", bound=Callable[..., Any])


def _user_cache() -> Path:
    """A folder of this user for compiled code when neither package nor home can be written."""
    owner = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"carps-like-compiled-{owner}"


def compiled(function: F) -> F:
    """``numba.njit`` with its cache beside the package, else in the user's cache folder.

    numba itself tries ``NUMBA_CACHE_DIR``, the package's ``__pycache__`` and the user's cache
    folder, in this order, and raises when none can be written (a read-only container).
    """
    try:
        jitted: F = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        numba.config.CACHE_DIR = str(_user_cache())
        jitted = numba.njit(cache=True, nogil=True)(function)
    return jitted


def _ctpop(typing_context: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


# number of ones in a 64-bit word, one machine instruction
popcount: Callable[[Any], int] = intrinsic(_ctpop)
