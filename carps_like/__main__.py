"""``python -m carps_like`` is ``carps-like``."""

import sys

from carps_like.cli import main

sys.exit(main())
