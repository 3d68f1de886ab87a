"""deepres: the residual family of networks, from one description. Importing it loads no torch."""

__version__ = "0.1.0"
