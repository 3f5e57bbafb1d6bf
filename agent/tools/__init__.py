"""Tools that the model may call: typed async functions, one per file."""
