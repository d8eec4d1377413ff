"""The Asterisk Manager Interface: our own client; never lets a control character onto the wire."""
