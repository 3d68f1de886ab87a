"""How does a row of a paper's table become a network? One file per family."""
