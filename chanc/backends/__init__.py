"""Where models run: generated PyTorch for training, ONNX Runtime for checking and timing."""
