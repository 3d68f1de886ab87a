"""What is a whole run? Recipes that return one as data, and the procedure that carries it out."""
