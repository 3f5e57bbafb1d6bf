"""Twilio on loopback: REST, signed webhooks, media streams, telephones and people on them."""

from server.emulators.twilio.behaviour import (
    Answer,
    Behaviour,
    Busy,
    Invalid,
    NoAnswer,
    Rejected,
    Unreachable,
    Voicemail,
)
from server.emulators.twilio.call import CallOver, EmulatedCall
from server.emulators.twilio.conditions import LineConditions
from server.emulators.twilio.emulator import TwilioEmulator
from server.emulators.twilio.faults import CallbackPlan, Hang, Refuse, ServerError, Slow
from server.emulators.twilio.handset import Handset, HungUp
from server.emulators.twilio.person import (
    HangUp,
    Pause,
    Person,
    PersonError,
    Play,
    Press,
    Say,
    WaitForAgent,
)

__all__ = [
    "Answer",
    "Behaviour",
    "Busy",
    "CallOver",
    "CallbackPlan",
    "EmulatedCall",
    "Handset",
    "Hang",
    "HangUp",
    "HungUp",
    "Invalid",
    "LineConditions",
    "NoAnswer",
    "Pause",
    "Person",
    "PersonError",
    "Play",
    "Press",
    "Refuse",
    "Rejected",
    "Say",
    "ServerError",
    "Slow",
    "TwilioEmulator",
    "Unreachable",
    "Voicemail",
    "WaitForAgent",
]
