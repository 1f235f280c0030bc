"""Training in PyTorch: from a graph to something that trains; the trainer, its options, schedules and checkpoints."""
