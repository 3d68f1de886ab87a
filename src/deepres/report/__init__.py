"""How are results shown? Charts and pages of what was measured elsewhere; nothing is computed here."""
