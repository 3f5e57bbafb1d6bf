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
