"""Pipeline `reminder`: reminds of an appointment, which is confirmed or moved by voice or keypad.

`metadata` fills the prompt and greeting: `{"name": "Ms Lee", "appointment": "Tuesday at ten"}`.
"""

from agent.profile import AgentProfile
from agent.tools.confirm_appointment import confirm_appointment
from agent.tools.hang_up import hang_up
from agent.tools.move_appointment import move_appointment
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

REMINDER = PipelineDefinition(
    name="reminder",
    description="Reminds of an appointment; 1 confirms it, 2 asks for another time.",
    profile=AgentProfile(
        greeting=(
            "Hello $name. You have an appointment on $appointment. "
            "Press one to confirm it, or two to change it."
        ),
        system_prompt=(
            "You call $name to remind them of their appointment on $appointment. "
            "When they say yes or press 1, use confirm_appointment. When they cannot come or press "
            "2, ask what time suits them better, then use move_appointment with their wish. "
            "Then say goodbye in one sentence and use hang_up. Speak of nothing else."
        ),
        max_duration_seconds=300,
        silence_seconds=8,
    ),
    tools=[confirm_appointment, move_appointment, hang_up],
    steps=[
        transport_input(),
        answer_shield(),
        resample(to=GEMINI_HEARS_AT),
        keypad(pause_secs=0.5),  # a menu of single keys: no need to wait for a second one
        remember_caller(),
        gemini_live(),
        transport_output(),
        remember_agent(),
        record_turns(),
    ],
)
