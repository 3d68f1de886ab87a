"""What does a person type? One file per verb; results go to stdout, progress and errors to stderr."""
