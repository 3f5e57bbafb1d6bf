"""One whole conversation over the real wire, on this machine, without any credential."""
