"""4 Train: small streaming architectures in torch."""
