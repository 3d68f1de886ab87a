"""What can be left out of a trained network, and what does that cost?"""
