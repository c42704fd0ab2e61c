"""Doors on `ClickSession`: the shell, files that other tools read, a web page, annotation tools."""
