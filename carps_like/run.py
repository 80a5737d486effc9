"""``carps_like.run(...)`` in Python, and ``python -m carps_like.run ...`` on the command line.

The module is callable, so that the two names can be one: whoever imports ``carps_like.run`` as a
module can still call it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from carps_like.session import run

        return run(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    from carps_like.cli import main

    sys.exit(main(["run", *sys.argv[1:]]))
