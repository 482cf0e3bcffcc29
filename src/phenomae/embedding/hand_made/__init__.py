"""Features without learning, computed without torch from pixels, objects or well names."""
