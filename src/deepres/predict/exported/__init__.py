"""How does a file that `deepres export` wrote answer?"""
