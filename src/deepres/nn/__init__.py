"""What does the description become? The same network as torch modules: built, initialised, saved, loaded."""
