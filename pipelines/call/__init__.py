"""A running call: starting its pipeline, prewarming, hang-up, tool context.

start         run_call: pipeline_modules, catalogue · prewarming, inbound_pool
end           hangup: caller_silence · stall_detector · duration_limit · last_words
tools         tool_context
"""
