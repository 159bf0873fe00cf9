"""``python -m skytrail``."""

from __future__ import annotations

import sys

from skytrail.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
