"""Studies: arms and seeds in one file, and the answer with its interval."""
