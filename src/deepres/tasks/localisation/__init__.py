"""Which class, and where is it?"""
