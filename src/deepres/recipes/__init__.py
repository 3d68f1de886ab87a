"""What is a whole run? Recipes that return one as data."""
