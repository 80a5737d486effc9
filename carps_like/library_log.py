"""What libraries log and warn goes to a text file of the worker, and not to the user's terminal."""

from __future__ import annotations

import logging
from pathlib import Path


class LibraryLog(logging.FileHandler):
    """``logs/<attempt>.txt``: made with its first line; every line names the run it came from.

    Holds warnings too, and whatever a user's own task logs. Lines that cannot be written (a full
    disk) are dropped: no run fails for them.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, delay=True, encoding="utf-8", errors="backslashreplace")
        self.run = ""
        self.addFilter(self._name_run)
        self.setFormatter(
            logging.Formatter("%(asctime)s %(run)s %(levelname)s %(name)s: %(message)s")
        )
        logging.getLogger().addHandler(self)
        logging.captureWarnings(True)

    def _name_run(self, record: logging.LogRecord) -> bool:
        record.run = self.run
        return True

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: see above."""
