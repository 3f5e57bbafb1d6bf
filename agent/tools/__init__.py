"""What the model may do during a call: typed async functions, one per file."""
