"""Deep alignment methods, one file each."""
