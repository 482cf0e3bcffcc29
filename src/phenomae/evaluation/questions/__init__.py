"""The questions of `ask`: evaluations of wells and maps other than recall of known pairs."""
