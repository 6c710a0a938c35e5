"""ONNX out of the engine, and inference without it. ``predictor`` imports no torch."""
