"""Which of the classes are on an image, none or several of them?"""
