"""7 Compress: export, quantise, check that nothing was lost."""
