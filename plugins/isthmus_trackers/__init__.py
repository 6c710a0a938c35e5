"""Trackers: TensorBoard, MLflow."""
