"""What is on a picture, and where?"""
