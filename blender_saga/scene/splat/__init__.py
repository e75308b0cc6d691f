"""Splats as point cloud objects, and the data of their drawing."""
