"""What any result knows, however it was found: the map, W2, interpolation, quality."""
