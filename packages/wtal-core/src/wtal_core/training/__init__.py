"""Learning: batches, the loop, checkpoints."""
