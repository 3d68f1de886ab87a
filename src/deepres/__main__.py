"""`python -m deepres` is `deepres`: interrupted while it begins, it ends in one line as it does later."""

import sys


def main() -> None:
    """Import the command line and run it."""
    try:
        from deepres.cli.main import main as work
    except KeyboardInterrupt:
        sys.stderr.write("deepres: interrupted\n")
        sys.exit(130)
    work()


if __name__ == "__main__":
    main()
