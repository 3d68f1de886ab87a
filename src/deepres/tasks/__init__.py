"""What is asked of an image, and what is an answer worth? One folder per task."""
