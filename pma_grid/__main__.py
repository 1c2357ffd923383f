"""``python -m pma_grid`` is the command ``pma-grid``."""

from pma_grid.cli import main

if __name__ == "__main__":
    main()
