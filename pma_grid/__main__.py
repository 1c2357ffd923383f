"""``python -m pma_grid`` is the command ``pma-grid``."""

import sys

from pma_grid.cli import main

if __name__ == "__main__":
    sys.exit(main())
