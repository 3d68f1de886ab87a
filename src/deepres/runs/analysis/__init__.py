"""What of a trained network is taken apart? Sections of numbers and plots, in one folder and one page."""
