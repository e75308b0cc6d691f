"""Splat file formats, one module each; `registry` recognises a file by what is in it. (INRIA PLY is `..ply`.)"""
