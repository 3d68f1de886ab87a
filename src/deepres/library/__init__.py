"""How are the verbs called from Python?"""
