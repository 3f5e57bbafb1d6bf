"""Demo: a whole conversation over real sockets, on this machine, without credentials."""
