"""`python -m jdarts`, the same as the `jdarts` command."""

import sys

from jdarts.cli import main

if __name__ == "__main__":
    sys.exit(main())
