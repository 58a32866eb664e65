"""Error rates, their intervals, and the scorecard that goes with every model."""
