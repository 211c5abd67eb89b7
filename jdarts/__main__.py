"""The `jdarts` command and `python -m jdarts`. Signals are taken care of before anything slow is imported."""

import sys

from jdarts.runs import interrupts


def main() -> int:
    """Run the command line and return the exit status."""
    interrupts.end_on_signals()
    from jdarts import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
