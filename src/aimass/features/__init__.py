"""2 Features: one front end for whole files and streams, for training and serving."""
