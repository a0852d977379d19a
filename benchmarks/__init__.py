"""Our engine beside its peers: named scenarios, interleaved, reported as ratios."""
