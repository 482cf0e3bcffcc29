"""Vision transformers, with fixed channels and channel-agnostic, and their masked autoencoders."""
