"""`python -m deepres` is `deepres`."""

from deepres.cli.main import main

if __name__ == "__main__":
    main()
