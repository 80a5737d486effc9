"""Compile a function with numba, cached on disk; one clear line when numba is absent."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from carps_like.errors import MissingData, MissingLibrary

try:
    import numba
    from numba.core import types
    from numba.extending import intrinsic
except ImportError as error:
    raise MissingLibrary("numba", "subset", "subset selection") from error

F = TypeVar("F", bound=Callable[..., Any])


def _digest() -> str:
    """Names the state of all compiled modules: numba itself only looks at a function's own file,
    and would go on using old machine code of the functions that it calls."""
    sources = sorted(Path(__file__).parent.glob("_[a-z]*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def _cache_folder() -> str:
    """Folder for machine code: ``NUMBA_CACHE_DIR``, else the user's cache, else a temporary one.

    Never the package's own folder, which may be read-only or shared.
    """
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    owner = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    places = [
        Path(os.environ.get("NUMBA_CACHE_DIR") or home) / "carps-like",
        Path(tempfile.gettempdir()) / f"carps-like-{owner}",
    ]
    for place in places:
        folder = place / f"compiled-{_digest()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return str(folder)
        except OSError:
            continue
    raise MissingData(
        f"no folder for compiled code can be written: {' or '.join(map(str, places))}; "
        "set NUMBA_CACHE_DIR to one that can"
    )


_CACHE = _cache_folder()


def compiled(function: F) -> F:
    """``numba.njit`` with machine code cached on disk for this user, see ``_cache_folder``."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = _CACHE
    try:
        jitted: F = numba.njit(cache=True, no_cfunc_wrapper=True, nogil=True, error_model="numpy")(
            function
        )
    finally:
        numba.config.CACHE_DIR = before
    return jitted


def helper(function: F) -> F:
    """``numba.njit`` for what only compiled functions call: no code to enter it from Python.

    Calling it from Python ends the process. It becomes part of its callers, so it is not cached by
    itself; both save a good part of the compilation.
    """
    jitted: F = numba.njit(
        no_cpython_wrapper=True, no_cfunc_wrapper=True, nogil=True, error_model="numpy"
    )(function)
    return jitted


def _ctpop(typing_context: Any, word: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), code


# number of ones in a 64-bit word, one machine instruction
popcount: Callable[[Any], int] = intrinsic(_ctpop)
