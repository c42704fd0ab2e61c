"""The page of `mfpgan demo`: a photo, clicks, masks, in a browser on the same machine.

server.py    the page's files, and where it listens        guard.py   who may ask, and how much may come
clicking.py  what changes a session                        looking.py what is shown and saved
desk.py      threads, and whose request it is              sessions.py  who has which session, and limits
models.py    what can be chosen, and what is loaded        heat.py    where a discriminator dislikes a mask
static/      the page: no build step, nothing from elsewhere
"""
