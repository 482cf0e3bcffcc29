"""The app that shows what is on a map: a local web server, and a static copy of its answers."""
