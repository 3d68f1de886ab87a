"""Which networks are published? Name, source, printed figure; found by name or pattern."""
