"""What is rehearsed takes no time any more when the first call needs it."""

import json
import subprocess
import sys

# In a process of its own: what is built once stays built.
TWICE = """
import json, time
from pipelines import catalogue
from pipelines.first_session import rehearse

def cpu_secs() -> float:
    began = time.process_time()
    rehearse(catalogue.find("reminder"))
    return time.process_time() - began

print(json.dumps([cpu_secs() for _ in range(5)]))
"""


def test_what_the_first_session_would_wait_for_is_built_by_the_rehearsal() -> None:
    ran = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, check=True, text=True)
    first, *later = json.loads(ran.stdout)
    assert first > 5 * sorted(later)[len(later) // 2]


LEFT_TO_BUILD = """
import json
from google.genai import types
from pipelines import catalogue
from pipelines.first_session import rehearse

rehearse(catalogue.find("reminder"))
used = ["LiveServerMessage", "Part", "LiveSendRealtimeInputParameters", "FunctionResponse"]
print(json.dumps([name for name in used if not getattr(types, name).__pydantic_complete__]))
"""


def test_all_that_comes_and_goes_by_way_of_the_sdk_is_built_by_the_rehearsal() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LEFT_TO_BUILD], capture_output=True, check=True, text=True
    )
    assert json.loads(ran.stdout) == []
