"""Splat file formats, one module each; `registry` recognizes a file by what is in it. (INRIA PLY is `..ply`.)"""
