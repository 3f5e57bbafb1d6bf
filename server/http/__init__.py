"""HTTP: uvicorn server, protocol timeouts and limits, limit of request bodies."""
