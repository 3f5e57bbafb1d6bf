"""HTTP: the uvicorn server, its protocol's limits, and the limit of request bodies."""
