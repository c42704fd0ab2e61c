"""The page of `mfpgan demo`: a photo, clicks, masks, in a browser on the same machine.

server.py    the addresses that the page asks     guard.py   who may ask, and how much may come
sessions.py  who has which session, and limits    models.py  what can be chosen, and what is loaded
heat.py      where a discriminator dislikes a mask            static/    the page
"""
