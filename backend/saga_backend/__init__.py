"""The torch side: rasterisers, views, masks, methods, queries, server, command line."""

import os

__version__ = "0.1.0"

# Before numba or torch load OpenMP: threads that wait for each other sleep instead of spinning. On cores that others
# use too (a training beside a click, Blender beside both) spinning made a click's row take 30 to 50 ms, not 0.3.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
