"""Pipeline `practice`: tools that fail, are slow, exit, never answer, or transfer the caller."""

from agent.tools.hang_up import hang_up
from agent.tools.practice_delay import check_stock
from agent.tools.practice_exit import pay_bill
from agent.tools.practice_failure import look_up_order
from agent.tools.practice_hang import find_technician
from agent.tools.practice_transfer import ask_colleague
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL

PRACTICE = PipelineDefinition(
    name="practice",
    description="Tools that fail, are slow or never answer, to hear how an agent takes it.",
    tools=[look_up_order, check_stock, pay_bill, find_technician, ask_colleague, hang_up],
    steps=PHONE_CALL.steps,
)
