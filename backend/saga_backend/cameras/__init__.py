"""Photos and their cameras, as COLMAP, nerfstudio, instant-ngp and LLFF write them."""
