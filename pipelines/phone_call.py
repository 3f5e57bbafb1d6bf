"""Pipeline `phone_call`, the default. Copy this file to write a pipeline of your own."""

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

PHONE_CALL = PipelineDefinition(
    name="phone_call",
    description="A conversation; the agent can hang up.",
    tools=[hang_up],
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
