"""Development: both emulators and a server that is started anew when a file changes."""
