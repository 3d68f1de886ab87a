"""Where are the epochs of a run shown besides `history.jsonl`? TensorBoard, a CSV, Weights & Biases, MLflow."""
