"""Options of the commands: what is wrong is said in one line, with the nearest right one."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from carps_like.errors import did_you_mean


class Arguments(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and exit with 2."""
        see = f"see {self.prog} --help"
        unknown = re.match(r"unrecognized arguments: (-[^\s=]+)", message)
        if unknown is not None:
            option = unknown.group(1)
            message = f"unknown option {option!r}"
            message += did_you_mean(option, self._option_string_actions, see)
        elif message.startswith("the following arguments are required"):
            message += f"; {see}"
        self.exit(2, f"{self.prog}: {message}\n")
