"""Which words may everybody use? Errors, seeds, files, records: no torch, no networks."""
