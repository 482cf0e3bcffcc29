"""Networks: shapes in, shapes out. No files but weights, no training."""
