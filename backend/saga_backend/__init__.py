"""The torch side: rasterisers, views, masks, methods, queries, server, command line."""

__version__ = "0.1.0"
