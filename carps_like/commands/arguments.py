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
        self.exit(2, f"{self.prog}: {explained(self, message)}\n")


def explained(parser: argparse.ArgumentParser, message: str) -> str:
    """What argparse says is wrong, with the option that may have been meant, or where to look."""
    see = f"see {parser.prog} --help"
    unknown = re.match(r"unrecognized arguments: (-[^\s=]+)", message)
    if unknown is None:
        return f"{message}; {see}"
    option = unknown.group(1)
    return f"unknown option {option!r}{did_you_mean(option, parser._option_string_actions, see)}"
