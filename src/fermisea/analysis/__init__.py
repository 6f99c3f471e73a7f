"""What a model is worth, and what follows from many predictions."""
