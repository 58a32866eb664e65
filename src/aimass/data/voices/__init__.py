"""Engines that speak: text in, samples out. Each is a plug-in; synthesis makes corpora of them."""
