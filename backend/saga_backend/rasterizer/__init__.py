"""Cloud and view to picture, depth and contribution rows."""
