"""Splat file formats, one module each; `registry` recognizes files by content. INRIA PLY is `..ply`."""
