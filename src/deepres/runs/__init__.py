"""How is a whole run carried out? Started, resumed, measured, taken apart; alone, in folds, or in time."""
