"""Running the gateway on a socket: the protocol guard and its limits."""
