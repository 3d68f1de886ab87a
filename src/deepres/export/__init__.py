"""How does a trained network answer without deepres? From a file that holds preparation, network and names."""
