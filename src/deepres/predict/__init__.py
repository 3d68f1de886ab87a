"""How does a trained network answer? From the run folder alone: class names and preparation are inside."""
