"""Which of several classes does an image show? Protocols, metrics, calibration, comparisons."""
