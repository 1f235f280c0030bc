"""Training in PyTorch: the trainer, its options, optimisers, schedules and checkpoints."""
