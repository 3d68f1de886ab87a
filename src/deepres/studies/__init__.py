"""Do the papers' numbers come out?"""
