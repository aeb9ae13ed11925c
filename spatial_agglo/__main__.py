"""``python -m spatial_agglo``."""

from spatial_agglo.cli import main

if __name__ == "__main__":
    main()
