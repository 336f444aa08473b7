"""The plug-in is a distribution of its own; its tests find it here without installing it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
