"""What does a description alone tell? Cost, memory, paths, tables and pictures: each one fold."""
