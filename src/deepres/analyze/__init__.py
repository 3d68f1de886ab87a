"""What does the network do inside?"""
