"""Cost estimate of a training before it is started."""
