"""Roads into ONNX from other frameworks, and the zoo of reference networks."""
