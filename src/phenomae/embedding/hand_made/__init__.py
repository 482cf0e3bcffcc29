"""Features without learning, computed from pixels or well names by numpy alone."""
