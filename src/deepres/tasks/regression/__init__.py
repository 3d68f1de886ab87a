"""Which numbers belong to an image?"""
