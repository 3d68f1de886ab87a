"""What happens to an image between its file and the network? As facts, and done image by image or by the batch."""
