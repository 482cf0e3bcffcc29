"""What the training loop calls after every step: meter, log, validation, checkpoints, trackers."""
