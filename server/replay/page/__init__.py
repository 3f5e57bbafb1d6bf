"""The parts of a replay's HTML page: elements, lanes, waveforms, sound, style and script."""
