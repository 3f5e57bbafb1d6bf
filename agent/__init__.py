"""What a call is: its words, its life, its record. No audio, no web, no vendor."""
