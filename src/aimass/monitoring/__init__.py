"""11 Watch: metrics of a running service."""
