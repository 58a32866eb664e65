"""10 Serve: HTTP under the protocols that clients already speak."""
