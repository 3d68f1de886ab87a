"""What is the network? A description as data: atoms, two composites, one fold; no torch, no numpy."""
