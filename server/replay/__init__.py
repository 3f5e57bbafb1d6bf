"""Phone calls in files, replayed through the real wire: scenarios, the player, its reports."""
