"""How do trained networks answer others, over HTTP and in a browser, for weeks and whatever is sent to them?"""
