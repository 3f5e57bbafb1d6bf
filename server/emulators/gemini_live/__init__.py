"""Gemini Live on loopback: the wire of the real one, and a scripted model behind it."""

from server.emulators.gemini_live.behaviour import Behaviour
from server.emulators.gemini_live.emulator import GeminiLiveEmulator
from server.emulators.gemini_live.faults import ConnectFault
from server.emulators.gemini_live.script import Script
from server.emulators.gemini_live.script_parser import ScriptError
from server.emulators.gemini_live.session import Session

__all__ = [
    "Behaviour",
    "ConnectFault",
    "GeminiLiveEmulator",
    "Script",
    "ScriptError",
    "Session",
]
