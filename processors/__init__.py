"""One step of a call each, one file each: frames in, frames out."""
