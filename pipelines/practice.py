"""Pipeline `practice`: a call with one tool that fails and one that takes three seconds."""

from agent.tools.hang_up import hang_up
from agent.tools.practice_delay import check_stock
from agent.tools.practice_failure import look_up_order
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL

PRACTICE = PipelineDefinition(
    name="practice",
    description="Tools that fail or are slow, to hear how an agent takes it.",
    tools=[look_up_order, check_stock, hang_up],
    steps=PHONE_CALL.steps,
)
