"""The torch side: rasterizers, views, masks, methods, queries, server, command line."""

import os

from .common.version import read_version

__version__ = read_version()

# Before numpy, numba and torch load their threads. Threads that wait for each other shall sleep and not spin, and a
# matrix product of numpy's (they are small here) shall not wait for a second core: on cores that others use too (a
# training beside a click, Blender beside both) a click's row took 30 to 50 ms instead of 0.3, a step 340 instead of 70.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
