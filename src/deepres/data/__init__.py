"""How do images on disk become batches? Sources, decoding, transforms, order, loading."""
