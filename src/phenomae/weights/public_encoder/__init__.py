"""Public encoders as they are: vision transformers of the package transformers, and MorphEm."""
