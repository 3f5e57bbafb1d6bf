"""Calls of the restaurant's phone. `PIPELINES=my_agent.calls` tells voice-ai of this file."""

from agent.profile import AgentProfile
from agent.tools.hang_up import hang_up
from pipelines.definition import PipelineDefinition
from pipelines.rates import GEMINI_HEARS_AT
from pipelines.steps import (
    answer_shield,
    gemini_live,
    keypad,
    record_turns,
    remember_agent,
    remember_caller,
    resample,
    transport_input,
    transport_output,
)

from my_agent.tools import book_table

RESTAURANT = PipelineDefinition(
    name="restaurant",
    description="Takes bookings for a restaurant.",
    profile=AgentProfile(
        greeting="Hello, this is the restaurant. What can I do for you?",
        system_prompt=(
            "You answer the phone of a small restaurant, which is open from noon to ten. "
            "Take bookings with book_table. Say one or two short sentences at a time. "
            "When the caller is done, say goodbye and use hang_up."
        ),
    ),
    tools=[book_table, hang_up],
    steps=[
        transport_input(),  # Twilio's media messages, decoded from mu-law
        answer_shield(),  # a first "Hello?" does not cut the greeting
        resample(to=GEMINI_HEARS_AT),  # the phone's 8 kHz becomes Gemini's 16 kHz
        keypad(),  # key presses reach the model as one line of text
        remember_caller(),
        gemini_live(),  # speech in; speech, transcripts and tool calls out
        transport_output(),  # back to mu-law; a barge-in empties Twilio's queue
        remember_agent(),  # only what the caller actually heard
        record_turns(),
    ],
)
