"""The FastAGI server: decides inside the dialplan where a call goes; never touches SQL and never blocks."""
