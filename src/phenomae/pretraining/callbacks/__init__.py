"""The callbacks of the training loop: meter, log, validation, checkpoints, trackers, stopping."""
