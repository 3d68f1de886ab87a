"""What is a network worth? Protocols, measures, results with provenance, reports."""
