"""Learning from unlabelled video: seven systems, each of a real use."""
